"""What an audit says in words: one sentence for each part, with its counts and how sure it is."""

from __future__ import annotations

from featx.analytics.audit_report import AuditReport
from featx.analytics.label_errors import LabelErrors
from featx.core.text import count_noun, join_some, show_text

N_NAMED = 3
"""Number of groups that are named."""

MAX_NAME = 40
"""Length in characters of a name among several."""

UNKNOWN_RATE = 0.1
"""Upper end of the interval of wrong labels from which on featx says that it cannot tell."""


def describe_parts(report: AuditReport) -> dict[str, str]:
    """Say what was found, a sentence for each part, the most important part first.

    Parameters
    ----------
    report : AuditReport
        The findings. A part that was not measured is ``-``, with the reason.
    """
    return {
        "leaks": _describe_leaks(report),
        "groups": _describe_groups(report),
        "duplicates": _describe_duplicates(report),
        "two classes": _describe_conflicts(report),
        "label errors": _describe_label_errors(report),
        "outliers": _describe_outliers(report),
        "blank": _describe_blank(report),
        "failures": "none"
        if not report.failures
        else f"{count_noun(len(report.failures), 'image')} failed in the extraction",
    }


def _skip(report: AuditReport, part: str) -> str:
    return f"- ({report.not_measured[part]})"


def _describe_leaks(report: AuditReport) -> str:
    if report.n_leaks is None:
        return _skip(report, "leaks")
    if not report.n_leaks:
        return f"none{_describe_equal(report)}"
    least = "" if report.near_duplicates.is_complete else "at least "
    pairs = count_noun(report.n_leaks, "pair")
    return (
        f"{least}{pairs} of duplicates in two splits: scores of the held-out split may be too high"
    )


def _describe_groups(report: AuditReport) -> str:
    names, parted = report.parted_groups, report.parted
    if names is None or parted is None:
        return _skip(report, "groups")
    if not names:
        return "none in several splits"
    verb = "lies" if len(names) == 1 else "lie"
    shown = join_some([show_text(name, MAX_NAME) for name in names], N_NAMED)
    return (
        f"{count_noun(len(names), 'group')} {verb} in several splits ({shown}): scores of the "
        f"{count_noun(len(parted), 'row')} held out may be too high"
    )


def _describe_duplicates(report: AuditReport) -> str:
    near = report.near_duplicates
    how = "" if near.n_decoded else ", by embeddings alone" * bool(near.n_proposed)
    if near.n_decoded and near.n_missing:
        how = f"; {count_noun(near.n_missing, 'image')} went by the embedding alone"
    if n_by_bytes := near.n_without_vector - near.n_not_compared:
        how += f"; {count_noun(n_by_bytes, 'row')} went by the bytes alone"
    if near.n_not_compared:
        how += f"; {count_noun(near.n_not_compared, 'row')} could not be compared"
    how += _describe_equal(report)
    if not len(near):
        return f"none among {count_noun(report.n_rows, 'row')}{how}"
    clusters = near.clusters
    if n_hidden := near.n_pairs - len(near):
        how += f"; {count_noun(n_hidden, 'pair')} of the same bytes not listed"
    expected = near.expected_wrong or 0.0
    pairs = "" if near.is_complete else "at least "
    pairs += count_noun(near.n_pairs, "pair")
    return (
        f"{sum(map(len, clusters))} images in {count_noun(len(clusters), 'cluster')}, "
        f"{report.n_dropped} to drop; {pairs}, {near.n_exact:,} with "
        f"the same bytes, {expected:.0%} expected to be wrong{how}"
    )


def _describe_equal(report: AuditReport) -> str:
    n_rows = report.near_duplicates.n_not_told_apart
    return f"; {count_noun(n_rows, 'row')} of equal vectors not told apart" if n_rows else ""


def _describe_conflicts(report: AuditReport) -> str:
    if "two_classes" in report.not_measured:
        return _skip(report, "two_classes")
    n_files = len(report.conflicts)
    return f"{count_noun(n_files, 'file')} with two labels" if n_files else "none"


def _describe_label_errors(report: AuditReport) -> str:
    found = report.label_errors
    if found is None:
        return _skip(report, "label_errors")
    low, high = found.rate_ci95
    left = report.n_labelled - found.n_judged
    rest = f"; {count_noun(left, 'labelled row')} could not be judged" if left else ""
    judged = count_noun(found.n_judged, "label")
    if not found.is_evident:
        if high > UNKNOWN_RATE:
            return f"cannot tell: of {judged}, {low:.0%} to {high:.0%} may be wrong{rest}"
        return f"none stands out; of {judged}, at most {high:.1%} are wrong (95 %){rest}"
    return f"{_describe_listed(found)}; of {judged}, {low:.1%} to {high:.1%} are wrong{rest}"


def _describe_listed(found: LabelErrors) -> str:
    low, high = found.n_wrong_ci95
    first = "the first is" if found.n_likely == 1 else f"the first {found.n_likely} are"
    return (
        f"{found.n_listed} listed, about {found.n_wrong:.0f} of them wrong (95 % interval {low} to "
        f"{high})" + f"; {first} more likely wrong than right" * bool(found.n_likely)
    )


def _describe_outliers(report: AuditReport) -> str:
    found = report.outliers
    if found is None:
        return _skip(report, "outliers")
    chance = found.rate * found.n_judged
    return f"{len(found)} of {count_noun(found.n_judged, 'row')}; {chance:.1f} by chance"


def _describe_blank(report: AuditReport) -> str:
    found = report.blank
    if found is None:
        return _skip(report, "blank")
    rest = f"; {count_noun(found.n_missing, 'row')} without an image" if found.n_missing else ""
    return f"{len(found)} of {count_noun(found.n_judged, 'image')}{rest}"
