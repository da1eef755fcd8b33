"""The log of epochs, read and written, and writing a small file whole."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from featx.core.errors import TuningError
from featx.core.files import replacing
from featx.core.records import build_record
from featx.core.typing import Measure, PathLike

MAX_LOG_BYTES = 1 << 24
"""Largest size of a log that is read: more than 100,000 epochs."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The measurements of one epoch: one line of the log.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1; 0 is the fitted head before any step.
    train_loss : float
        Mean cross-entropy over the images of the epoch, in nats, with label smoothing, and with the
        class weights of the head if it has some; NaN for epoch 0.
    holdout_loss : float
        The same over the holdout after the epoch, without label smoothing.
    holdout_accuracy : float
        Share of the holdout that is predicted correctly after the epoch.
    holdout_balanced_accuracy : float
        Mean recall of the classes that have images in the holdout.
    lr : float
        Learning rate of the topmost block in the last step of the epoch.
    seconds : float
        Seconds of training, without the scoring of the holdout.
    images_per_s : float
        Number of training images per second.

    See Also
    --------
    TuningReport : Holds the epochs of one run.
    read_log : Reads them from the log.
    """

    epoch: int
    train_loss: float
    holdout_loss: float
    holdout_accuracy: float
    holdout_balanced_accuracy: float
    lr: float
    seconds: float
    images_per_s: float

    def get_score(self, measure: Measure) -> float:
        """Return a score of the holdout.

        Parameters
        ----------
        measure : {"accuracy", "balanced_accuracy"}
            The score.
        """
        balanced = measure == "balanced_accuracy"
        return self.holdout_balanced_accuracy if balanced else self.holdout_accuracy

    def to_record(self) -> dict[str, Any]:
        """Return the measurements as JSON has them: None in place of NaN and infinity."""
        return {name: one if math.isfinite(one) else None for name, one in asdict(self).items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Epoch:
        """Build an epoch from what `to_record` returned.

        Parameters
        ----------
        record : mapping
            Measurements by name; None stands for NaN.

        Raises
        ------
        ValueError
            If a measurement is missing, unknown or no number.
        """
        return build_record(
            cls, {name: math.nan if one is None else one for name, one in record.items()}
        )


def write_log(path: Path, history: Sequence[Epoch], *, overwrite: bool) -> None:
    """Write one line per epoch, as CSV.

    Parameters
    ----------
    path : Path
        File to write.
    history : sequence of Epoch
        Epochs in their order.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    TuningError
        If the file cannot be written. The previous file stays.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in fields(Epoch)])
    writer.writerows(astuple(epoch) for epoch in history)
    write_whole(path, stream.getvalue().encode(), overwrite=overwrite)


def read_log(path: PathLike) -> list[Epoch]:
    r"""Read the log of epochs that a fine-tuning wrote, finished or not.

    Parameters
    ----------
    path : path
        Log, as `featx.fine_tune` writes it beside the tuned weights (``.log.csv``), or of an
        unfinished run (``log.csv`` in the folder ``.partial``).

    Returns
    -------
    list of Epoch
        Epochs in their order, from epoch 0, the fitted head before any step.

    Raises
    ------
    TuningError
        If the file cannot be read, or is no such log.

    See Also
    --------
    fine_tune : Writes the log.

    Examples
    --------
    >>> names = ",".join(column.name for column in fields(Epoch))
    >>> _ = Path("tuned.log.csv").write_text(f"{names}\n0,nan,0.52,0.81,0.8,0.0,0.0,0.0\n")
    >>> [epoch.holdout_accuracy for epoch in featx.read_log("tuned.log.csv")]
    [0.81]
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_LOG_BYTES + 1).decode("utf-8-sig")
        if len(text) > MAX_LOG_BYTES:
            raise ValueError(f"a file of more than {MAX_LOG_BYTES / 1e6:.0f} MB")
        return _parse_log(text)
    except OSError as error:
        raise TuningError(
            subject=str(path),
            expected="the log of a fine-tuning",
            got=error.strerror or type(error).__name__,
            remedy="Check the path: the log lies beside the tuned weights, as NAME.log.csv.",
        ) from error
    except (ValueError, csv.Error) as error:
        is_text = not isinstance(error, UnicodeDecodeError)
        raise TuningError(
            subject=str(path),
            expected="the log of a fine-tuning",
            got=str(error) if is_text else "bytes that are no text",
            remedy="Pass the file NAME.log.csv that lies beside the tuned weights.",
        ) from error


def _parse_log(text: str) -> list[Epoch]:
    """Parse the text of a log; raise ValueError with what is wrong with it."""
    names = [column.name for column in fields(Epoch)]
    lines = [*csv.reader(io.StringIO(text, newline=""), strict=True)]
    if not lines or lines[0] != names:
        raise ValueError(f"another first line than {','.join(names)}")
    epochs = [_parse_line(names, words, number) for number, words in enumerate(lines[1:])]
    if not epochs:
        raise ValueError("no epoch")
    return epochs


def _parse_line(names: Sequence[str], words: Sequence[str], number: int) -> Epoch:
    """Parse the line of an epoch, whose number must be the next one."""
    if len(words) != len(names):
        raise ValueError(f"{len(words)} values in place of {len(names)} for epoch {number}")
    if words[0] != str(number):
        raise ValueError(f"{words[0]!r} in place of epoch {number}")
    values: dict[str, Any] = {"epoch": number}
    for name, word in zip(names[1:], words[1:], strict=True):
        try:
            values[name] = float(word)
        except ValueError:
            raise ValueError(f"{word!r} in place of a number: {name} of epoch {number}") from None
    return Epoch(**values)


def write_whole(path: Path, data: bytes | memoryview, *, overwrite: bool) -> None:
    """Write a whole file; if this fails, the previous file stays.

    Parameters
    ----------
    path : Path
        File to write.
    data : bytes or memoryview
        Content of the file.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    TuningError
        If the file cannot be written, for example because the disk is full.
    """
    with replacing(path, error=TuningError, overwrite=overwrite) as draft:
        draft.write_bytes(data)
