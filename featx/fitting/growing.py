"""Fit a head again on rows that have grown, from a head that was fitted before."""

from __future__ import annotations

from featx.core.text import count_noun, join_some
from featx.heads.head import Head

N_NAMED = 5
"""Number of classes that are named."""


def describe_growth(before: Head, after: Head) -> str:
    """Say what has changed between two heads: rows, classes, strength and held-out accuracy.

    Parameters
    ----------
    before : Head
        The head that was fitted first.
    after : Head
        The head that was fitted from it.
    """
    n_more = after.fitted_on.n_rows - before.fitted_on.n_rows
    parts = [f"{count_noun(abs(n_more), 'row')} {'fewer' if n_more < 0 else 'more'}"]
    old, new = before.classes.tolist(), after.classes.tolist()
    for name, classes in (
        ("new", [label for label in new if label not in old]),
        ("gone", [label for label in old if label not in new]),
    ):
        if classes:
            noun = "class" if len(classes) == 1 else "classes"
            parts.append(f"{name} {noun} {join_some(classes, N_NAMED)}")
    if [one.fingerprint for one in before.embeddings] != [
        one.fingerprint for one in after.embeddings
    ]:
        parts.append(f"embeddings {_name_embeddings(before)} → {_name_embeddings(after)}")
    for name, value in after.params.items():
        if name in before.params:
            parts.append(f"{name} {before.params[name]:.3g} → {value:.3g}")
    if before.cross_validation is not None and after.cross_validation is not None:
        scores = (before.cross_validation.scores.accuracy, after.cross_validation.scores.accuracy)
        parts.append("held-out accuracy {:.3f} → {:.3f}".format(*scores))
    return f"since the former head of {before.fitted_on.n_rows:,} rows: {', '.join(parts)}"


def _name_embeddings(head: Head) -> str:
    """Name the embeddings of a head, with the digest of each fingerprint."""
    return " and ".join(f"{one.name} ({one.fingerprint.digest})" for one in head.embeddings)
