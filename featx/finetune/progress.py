"""The point that a training has reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from featx.core.text import count_noun
from featx.finetune.log import Epoch


@dataclass(kw_only=True)
class Progress:
    """The point that a training has reached.

    Attributes
    ----------
    epoch, step : int
        Number of the epoch, from 1, and of the next step in it, from 0.
    loss_sum : float
        Sum of the losses of the images that were seen in the epoch.
    n_seen : int
        Number of images that were seen in the epoch.
    seconds : float
        Seconds of training in the epoch.
    history : list of Epoch
        Epochs that are finished.
    """

    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    n_seen: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)

    def finish_epoch(self, epoch: Epoch) -> None:
        """Add a finished epoch, and begin the next one."""
        self.history.append(epoch)
        self.epoch, self.step = epoch.epoch + 1, 0
        self.loss_sum, self.n_seen, self.seconds = 0.0, 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state in plain values."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        history = [Epoch(**line) for line in state["history"]]
        for name, value in {**state, "history": history}.items():
            setattr(self, name, value)

    def describe(self) -> str:
        """Describe the point in words.

        Examples
        --------
        >>> Progress(epoch=4).describe(), Progress(epoch=4, step=1).describe()
        ('epoch 3', 'epoch 3 and 1 step')
        """
        epoch = f"epoch {self.epoch - 1}"
        return f"{epoch} and {count_noun(self.step, 'step')}" if self.step else epoch
