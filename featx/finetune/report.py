"""The report of a fine-tuning: what was trained, what it gained, and what to do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from featx.core.records import build_record
from featx.finetune.advise import Advice
from featx.finetune.log import Epoch
from featx.finetune.paths import TuningPaths
from featx.heads.compare import PairedRecall, PairedScores

OWN_PATHS = {"path": "output", "head_path": "head", "log_path": "log"}
"""Fields of a report that are paths, and the paths of a run that they stand for."""

MAX_LOSING = 3
"""Largest number of classes that a verdict names."""


@dataclass(frozen=True, kw_only=True)
class TuningReport:
    """The report of a fine-tuning, with the verdict whether it helped.

    Attributes
    ----------
    path, head_path, log_path : Path
        Tuned weights, the head that belongs to them, and the log of epochs.
    backbone : str
        Name of the architecture.
    blocks : tuple of str
        Names of the unfrozen blocks, the one nearest to the classifier first.
    n_train, n_holdout : int
        Number of images to learn from, and number of images in the holdout.
    schedule : str
        Sentence that tells the epochs, the steps and the learning rate that were planned.
    history : tuple of Epoch
        Epochs in their order; epoch 0 is the fitted head.
    best_epoch : int
        Number of the epoch whose weights are kept; 0 if no epoch was surely better than the head.
    n_epochs : int
        Number of epochs that were planned.
    stopped : str
        Sentence that says why training ended before its last epoch; empty if all epochs were run.
    is_cut_short : bool
        Whether training ended before its learning rate had come down. Then nothing is known of
        where it would have led.
    split : str
        Split that the frozen head and the tuned model are compared on.
    scores : PairedScores
        Scores of the frozen head (``first``) and of the tuned model (``second``), in the measure
        that the head was chosen by.
    advice : Advice or None
        Advice that chose the blocks; None if the caller chose them.
    trunk_path : Path or None
        Cache with the output of the trunk; None if the trunk was run in each epoch.
    trunk_excess : str
        Sentence that says why the output of the trunk is not kept; empty if it is kept.
    trunk_s, train_s : float
        Seconds that the call that finished the run spent on the trunk, and on training.

    See Also
    --------
    fine_tune : Returns the report.
    """

    path: Path
    head_path: Path
    log_path: Path
    backbone: str
    blocks: tuple[str, ...]
    n_train: int
    n_holdout: int
    schedule: str
    history: tuple[Epoch, ...]
    best_epoch: int
    n_epochs: int
    stopped: str
    is_cut_short: bool
    split: str
    scores: PairedScores
    advice: Advice | None
    trunk_path: Path | None
    trunk_excess: str
    trunk_s: float
    train_s: float

    @property
    def verdict(self) -> str:
        """Sentences: the gain with its interval, the classes that lose, and the model to use."""
        scores = self.scores
        measure = scores.measure.replace("_", " ")
        low, high = scores.gain_ci95
        gain = (
            f"{100 * scores.gain:+.1f} points of {measure} on {scores.n_rows} {self.split} images "
            f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f}, p = {scores.p_value:.2g})"
        )
        losing = f"{describe_losing(scores.losing)} " if scores.losing else ""
        if scores.is_better:
            return f"Tuning helped: {gain}. {losing}Use {self.path} with {self.head_path}."
        stay = f"{losing}Stay with the frozen head: {self._describe_useless()}."
        if high < 0:
            return f"Tuning made the {measure} worse: {gain}. {stay}"
        if self.is_cut_short:
            return (
                f"Whether tuning helps is not known: it was stopped after {self.history[-1].epoch} "
                f"of {self.n_epochs} epochs, before the learning rate had come down, with {gain}. "
                f"{stay}"
            )
        return f"Tuning did not help for certain: {gain}. {stay}"

    def _describe_useless(self) -> str:
        """Name the files that are of no use beside the frozen head."""
        files = [
            self.path,
            self.head_path,
            self.log_path,
            *([self.trunk_path] if self.trunk_path else []),
        ]
        names = f"{', '.join(map(str, files[:-1]))} and {files[-1]}"
        unchanged = "" if self.best_epoch else "the network is unchanged, and "
        return f"{unchanged}you may delete {names}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the verdict as plain values, for JSON."""
        return asdict(self) | {"scores": self.scores.to_dict(), "verdict": self.verdict}

    def to_record(self) -> dict[str, Any]:
        """Return what the metadata of the tuned weights keeps, in JSON types.

        Paths may change, the advice is for the user, and the scores have a place of their own.
        """
        fields = asdict(self)
        for name in (*OWN_PATHS, "advice", "scores"):
            del fields[name]
        trunk = None if self.trunk_path is None else str(self.trunk_path)
        history = [epoch.to_record() for epoch in self.history]
        return fields | {"trunk_path": trunk, "history": history}

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], scores: Mapping[str, Any], paths: TuningPaths
    ) -> TuningReport:
        """Build the report of a finished run again, without its advice.

        Parameters
        ----------
        record : mapping
            Fields that `to_record` returned.
        scores : mapping
            Fields that `PairedScores.to_dict` returned.
        paths : TuningPaths
            Present paths of the files.

        Raises
        ------
        ValueError
            If a field is missing, unknown or of another type.
        """
        history = tuple(Epoch.from_record(epoch) for epoch in record.get("history", ()))
        own = {name: str(getattr(paths, part)) for name, part in OWN_PATHS.items()}
        compared = {name: scores[name] for name in scores if name not in ("is_better", "losing")}
        fields = {**record, **own, "history": [], "scores": compared, "advice": None}
        report = replace(build_record(cls, fields), history=history)
        is_gone = report.trunk_path is not None and not report.trunk_path.exists()
        return replace(report, trunk_path=None) if is_gone else report


def describe_losing(losing: Sequence[PairedRecall]) -> str:
    """Name the classes that lose, with their recalls before and after, in one sentence.

    Parameters
    ----------
    losing : sequence of PairedRecall
        Classes that lose, the largest loss first; at least one.

    Examples
    --------
    >>> cat = PairedRecall(label="cat", n_rows=50, first=0.84, second=0.18, p_value=1e-8)
    >>> describe_losing([cat])
    "It loses on class 'cat': recall 0.840 before, 0.180 after."
    """
    parts = [
        f"{one.label!r}: recall {one.first:.3f} before, {one.second:.3f} after"
        for one in losing[:MAX_LOSING]
    ]
    more = len(losing) - len(parts)
    parts += [f"and {more} more"] if more else []
    return f"It loses on {'class' if len(losing) == 1 else 'classes'} {'; '.join(parts)}."
