"""What can be asked of a head, and what it says of one image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from featx.core.errors import FeatxError
from featx.core.rows import Row
from featx.core.typing import Split
from featx.heads.unknown import DEFAULT_RATE


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction of a head, or of a network's own classifier, for one image.

    Attributes
    ----------
    path : str
        Path of the image; ``image N`` for an image without one, where N is its position in the
        result, from 0.
    id : str
        Identity of the image within its source or cache; its position for an image in memory.
    label : str or None
        The most likely class; None if the image cannot be read, the head abstains, or the head is
        one for a number.
    score : float or None
        Probability of the most likely class, also if the head abstains.
    unknown : bool or None
        Whether the image is like nothing that the head was fitted on; None if the head cannot tell,
        or was not asked.
    top : tuple of (str, float)
        The most likely classes with their scores, best first.
    label_set : tuple of str or None
        Classes that hold the right one in the share of images that was asked for, best first; None
        if no sets were asked for.
    labels : tuple of str or None
        Classes that the image has, if the head is one for several classes; None for another head.
    value : float or None
        The number, if the head is one for a number.
    abstained : str or None
        Reason why the head abstains.
    true_label : str or None
        Label that the source or the cache gives to the image; None if it gives none.
    split : {"train", "val", "test"} or None
        Split that the source or the cache gives to the image.
    error : str or None
        Reason why there is no prediction.
    """

    path: str
    id: str = ""
    label: str | None = None
    score: float | None = None
    unknown: bool | None = None
    top: tuple[tuple[str, float], ...] = ()
    label_set: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    value: float | None = None
    abstained: str | None = None
    true_label: str | None = None
    split: Split | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """What is asked of a head.

    Every call that predicts takes these options as keywords.

    Attributes
    ----------
    top : int
        Number of classes per image.
    min_confidence : float, optional
        Score below which the head abstains, from 0 to 1: the prediction has no label, but its
        score. Default: the head never abstains.
    sets : float, optional
        Coverage of a set of classes per image, above 0 and below 1: in the long run, at 0.9, the
        sets of 90 of 100 images like those that the head was fitted on hold their class. Default:
        no sets.
    unknown_rate : float, optional
        Rate of false alarms: share of images like those that the head was fitted on that are called
        unknown, below 1; 0 asks for nothing. Default: 0.01 or, if the head was fitted on fewer than
        99 units, the smallest rate that they bear out.

    See Also
    --------
    featx.predict : Predict classes.

    Examples
    --------
    >>> from featx import AnswerOptions
    >>> AnswerOptions(top=0)
    Traceback (most recent call last):
    ...
    featx.core.errors.FeatxError: top: expected at least 1, got 0. Pass top=1 or more.
    """

    top: int = 1
    min_confidence: float | None = None
    sets: float | None = None
    unknown_rate: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if self.top < 1:
            raise FeatxError(
                subject="top",
                expected="at least 1",
                got=str(self.top),
                remedy="Pass top=1 or more.",
            )
        for name, value, is_right, expected, usual in (
            ("min_confidence", self.min_confidence, _is_share, "a score from 0 to 1", 0.7),
            ("sets", self.sets, _is_between, "a coverage between 0 and 1", 0.9),
            ("unknown_rate", self.unknown_rate, _is_rate, "a rate from 0 to below 1", DEFAULT_RATE),
        ):
            if value is not None and not is_right(value):
                raise FeatxError(
                    subject=name,
                    expected=expected,
                    got=str(value),
                    remedy=f"Pass {name}={usual}, or leave it out.",
                )


def _is_share(value: float) -> bool:
    return 0 <= value <= 1


def _is_between(value: float) -> bool:
    return 0 < value < 1


def _is_rate(value: float) -> bool:
    return 0 <= value < 1


def describe_failure(row: Row, error: str) -> Prediction:
    """Say of an image why it has no prediction.

    Parameters
    ----------
    row : Row
        The image.
    error : str
        The reason.
    """
    return Prediction(path=row.path, id=row.id, true_label=row.label, split=row.split, error=error)
