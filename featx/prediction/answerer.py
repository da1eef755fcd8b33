"""Answer for embedded images: classes, sets of classes, and whether the head knows the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.core.errors import HeadError
from featx.core.notes import note
from featx.core.rows import Row
from featx.core.text import count_noun, join_some
from featx.core.typing import Array, Float64Array
from featx.heads.head import Head
from featx.heads.target_head import TargetHead
from featx.heads.unknown import DEFAULT_RATE
from featx.prediction.answers import AnswerOptions, Prediction

N_NAMED = 3
"""Number of classes that a note names."""

N_DIGITS = 9
"""Digits of a score behind the point."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a head says of one embedding.

    Attributes
    ----------
    top : tuple of (str, float)
        The most likely classes with their scores, best first.
    label_set : tuple of str or None
        Classes of the set, best first; None without sets.
    unknown : bool or None
        Whether the embedding is like nothing that the head was fitted on; None if nobody can tell.
    labels : tuple of str or None
        Classes that the image has, of a head for several classes.
    value : float or None
        The number, of a head for one.
    """

    top: tuple[tuple[str, float], ...] = ()
    label_set: tuple[str, ...] | None = None
    unknown: bool | None = None
    labels: tuple[str, ...] | None = None
    value: float | None = None


class Answerer:
    """A head and what is asked of it.

    Parameters
    ----------
    head : Head
        The head that answers.
    options : AnswerOptions
        What is asked of it.

    Raises
    ------
    HeadError
        If sets are asked for, or a rate of false alarms is set, and the head has neither; or if a
        head for several classes or a number shall abstain.
    """

    def __init__(self, head: Head, options: AnswerOptions) -> None:
        self.head, self.options = head, options
        self.rate = DEFAULT_RATE if options.unknown_rate is None else options.unknown_rate
        if options.min_confidence is not None and isinstance(head, TargetHead):
            raise head.refuse("one class per image, which can abstain")
        if options.unknown_rate and head.unknown is None:
            raise _explain_lack("unknown_rate", "the distances of the rows it was fitted on")
        if options.sets is not None and head.conformal is None:
            raise _explain_lack("sets", "held-out probabilities")

    def note_limits(self) -> None:
        """Tell the user which promises that were asked for the rows of the head do not bear out."""
        unknown, conformal = self.head.unknown, self.head.conformal
        rate, coverage = self.options.unknown_rate, self.options.sets
        if unknown is not None and rate and rate < unknown.smallest_rate:
            n_units = count_noun(unknown.n_units, "unit")
            note(
                f"unknown_rate={rate:g}: {n_units} of the head bear out a rate of "
                f"{unknown.smallest_rate:.2g} at least"
            )
        if conformal is None or coverage is None:
            return
        if coverage > conformal.largest_coverage:
            n_units = count_noun(int(conformal.n_units.max()), "unit")
            note(
                f"sets={coverage:g}: {n_units} of the head "
                f"bear out a coverage of {conformal.largest_coverage:.2g} at most: "
                "all sets hold all classes"
            )
            return
        pooled = conformal.find_pooled(coverage)
        if len(pooled):
            classes = self.head.classes[pooled]
            named = join_some([str(label) for label in classes], N_NAMED)
            note(
                f"sets={coverage:g}: too few rows for a promise of their own: {named}; the "
                "coverage holds for such classes together"
            )

    def answer(self, X: Array) -> list[Answer]:
        """Answer for embedded images.

        Parameters
        ----------
        X : ndarray
            Vectors ``(n_rows, dim)``.
        """
        head, options = self.head, self.options
        if not len(X):
            return []
        if isinstance(head, TargetHead):
            return _answer_target(head, X, options.top, self._find_unknown(X))
        # The last bits of a product of matrices depend on the number of rows: one image that fails
        # must not change the others.
        scores = np.round(head.predict_proba(X), N_DIGITS)  # (n_rows, n_classes)
        classes = [str(label) for label in head.classes]
        order = np.argsort(-scores, axis=1, kind="stable")
        return [
            Answer(
                top=tuple((classes[code], float(line[code])) for code in codes[: options.top]),
                label_set=None if inside is None else tuple(classes[c] for c in codes if inside[c]),
                unknown=is_unknown,
            )
            for line, codes, inside, is_unknown in zip(
                scores, order, self._find_sets(scores), self._find_unknown(X), strict=True
            )
        ]

    def _find_unknown(self, X: Array) -> list[bool | None]:
        """Find which rows are like nothing the head has seen; None for each if it cannot tell."""
        if self.head.unknown is None or not self.rate:
            return [None] * len(X)
        found: list[bool | None] = self.head.unknown.find_unknown(X, self.rate).tolist()
        return found

    def _find_sets(self, scores: Float64Array) -> list[Any]:
        """Find which classes are in the set of each row; None for each row without sets."""
        if self.head.conformal is None or self.options.sets is None:
            return [None] * len(scores)
        return list(self.head.conformal.find_sets(scores, self.options.sets))

    def describe(self, row: Row, answer: Answer) -> Prediction:
        """Put together what the source says of an image and what the head says.

        Parameters
        ----------
        row : Row
            The image.
        answer : Answer
            What `answer` returned for it.
        """
        label, score = answer.top[0] if answer.top else (None, None)
        least = self.options.min_confidence
        abstains = least is not None and score is not None and score < least
        return Prediction(
            path=row.path,
            id=row.id,
            label=None if abstains else label,
            score=score,
            unknown=answer.unknown,
            top=answer.top,
            label_set=answer.label_set,
            labels=answer.labels,
            value=answer.value,
            abstained=f"score {score:.3g} is below {least:g}" if abstains else None,
            true_label=row.label,
            split=row.split,
        )


def _answer_target(
    head: TargetHead, X: Array, top: int, unknown: list[bool | None]
) -> list[Answer]:
    """Answer with a number, or with the classes whose probability reaches their threshold."""
    if head.target.kind == "number":
        values = head.predict(X).tolist()
        return [Answer(value=one, unknown=flag) for one, flag in zip(values, unknown, strict=True)]
    probabilities = np.round(head.predict_proba(X), N_DIGITS)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    classes = head.target.classes
    return [
        Answer(
            top=tuple((classes[code], float(line[code])) for code in codes),
            labels=labels,
            unknown=is_unknown,
        )
        for line, codes, labels, is_unknown in zip(
            probabilities, order, head.target.name_classes(probabilities), unknown, strict=True
        )
    ]


def _explain_lack(name: str, lacking: str) -> HeadError:
    return HeadError(
        subject=name,
        expected=f"a head that keeps {lacking}",
        got="one without them",
        remedy=f"Leave {name} out, or fit a head anew: featx.fit_head(cache).",
    )
