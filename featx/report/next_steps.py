"""What a report says first, and what it tells to do next: each sentence follows from a number."""

from __future__ import annotations

from collections.abc import Sequence

from featx.analytics.audit_report import AuditReport
from featx.analytics.pool import Pool
from featx.cache.reader import Cache
from featx.core.text import count_noun, show_text
from featx.core.typing import Split, list_choices
from featx.finetune.advise import MIN_GAIN, BlockChoice
from featx.fitting.evaluate import find_evaluated
from featx.fitting.split import VAL
from featx.report.collect_curve import CollectedCurve
from featx.report.collect_heads import ScoredHead
from featx.report.commands import Command, write_command, write_extract
from featx.report.contents import HeadPair
from featx.report.locations import list_cache_paths
from featx.report.parted_copies import find_parted_copies

MAX_CLASS = 60
"""Length in characters of the name of a class in a sentence."""


def list_summary(
    cache: Cache,
    classes: Sequence[str],
    splits: Sequence[str],
    *,
    heads: Sequence[ScoredHead],
    pairs: Sequence[HeadPair],
    audited: AuditReport | None,
) -> list[str]:
    """List the few sentences that matter most.

    Parameters
    ----------
    cache : Cache
        Open cache.
    classes, splits : sequence of str
        Names of the classes and of the splits.
    heads : sequence of ScoredHead
        The heads.
    pairs : sequence of HeadPair
        Comparisons of two heads.
    audited : AuditReport or None
        The audit; None if there was none.
    """
    n_labelled = int((cache.labels != "").sum())
    of_classes = f" of {count_noun(len(classes), 'class')}" if classes else ""
    named = ", no splits"
    if splits:
        named = f", {'split' if len(splits) == 1 else 'splits'} {', '.join(splits)}"
    told = [
        f"{count_noun(len(cache), 'row')}, {n_labelled:,} labelled{of_classes}{named}; "
        f"embeddings: {', '.join(cache.embeddings)}."
    ]
    told += [_describe_scores(one) for one in heads]
    told += [pair.verdict for pair in pairs]
    if text := _describe_parted_copies(cache, heads, audited):
        told.append(text)
    if audited is not None and audited.n_leaks:
        told.append(
            f"{count_noun(audited.n_leaks, 'pair')} of duplicates "
            f"{'lies' if audited.n_leaks == 1 else 'lie'} in two splits: scores of the held-out "
            "split may be too high."
        )
    if audited is not None and (names := audited.parted_groups):
        verb = "lies" if len(names) == 1 else "lie"
        told.append(
            f"{count_noun(len(names), 'group')} {verb} in several splits: scores of the held-out "
            "split may be too high."
        )
    wrong = None if audited is None else audited.label_errors
    if wrong is not None and wrong.is_evident:
        low, high = wrong.rate_ci95
        told.append(f"{low:.1%} to {high:.1%} of the labels are wrong, by the audit.")
    return told


def _describe_parted_copies(
    cache: Cache, heads: Sequence[ScoredHead], audited: AuditReport | None
) -> str:
    """Say that scores of folds are too high where copies lie in other folds; empty if none do."""
    in_folds = [one.scored for one in heads if one.scored is not None and one.scored.n_folds]
    if audited is None or not in_folds:
        return ""
    parted = find_parted_copies(cache, audited.near_duplicates, in_folds[0].rows)
    if not parted.any():
        return ""
    rows = count_noun(len(parted), "row")
    return (
        f"Near-duplicates of {parted.sum():,} of {rows} lie in other folds: scores that are held "
        "out in folds are too high."
    )


def _describe_scores(one: ScoredHead) -> str:
    scores = one.scores
    if scores is None:
        return f"{one.name}: not scored."
    low, high = scores.accuracy_ci95
    return (
        f"{one.name}: accuracy {scores.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}) on "
        f"{count_noun(scores.n_rows, 'row')} of {one.split}; always "
        f"{show_text(scores.majority_class, MAX_CLASS)}: {scores.majority_accuracy:.3f}."
    )


def _has_mistakes(one: ScoredHead) -> bool:
    """Tell whether the page shows rows that a head has wrong."""
    return one.scored is not None and bool((one.scored.predicted != one.scored.y).any())


def list_next_steps(
    cache: Cache,
    classes: Sequence[str],
    splits: Sequence[str],
    *,
    heads: Sequence[ScoredHead],
    n_targets: int = 0,
    audited: AuditReport | None,
    curve: CollectedCurve,
    embedding: str,
) -> list[Command]:
    """List what to do next, the most urgent step first.

    Parameters
    ----------
    cache : Cache
        Open cache.
    classes, splits : sequence of str
        Names of the classes and of the splits.
    heads : sequence of ScoredHead
        The heads.
    n_targets : int
        Number of heads for several classes or for a number.
    audited : AuditReport or None
        The audit; None if there was none.
    curve : CollectedCurve
        The learning curve, or why there is none.
    embedding : str
        Name of the embedding of the audit and of the curve.

    Returns
    -------
    list of (str, str)
        Sentences, and the command of each, which may be empty.
    """
    paths = list_cache_paths(cache)
    named = ("--embedding", embedding) if len(cache.embeddings) > 1 else ()
    info = cache.get_info(embedding)
    n_open = len(Pool.read(cache, info.name).rows)
    is_labelled = cache.labels != ""
    present = cache.read_present(info.name)
    lacks_vectors = not (present & is_labelled if is_labelled.any() else present).any()
    steps: list[Command] = []
    if len(cache.read_ledger()):
        steps.append(
            (
                "Look at the images that could not be read.",
                write_command("info", *paths, "--failures"),
            )
        )
    has_copies = audited is not None and len(audited.near_duplicates) > 0
    together = ("--together", "similar", *named) if has_copies else ()
    split = _write_split(cache, splits, paths, together)
    steps += _list_audit_steps(audited, paths, named, split)
    if lacks_vectors:
        who = "no labelled row" if present.any() else "no row"
        can_embed = len(paths) == 1 and not info.fingerprint.is_imported
        extract = write_extract(cache, info, paths[0]) if can_embed else ""
        steps.append((f"Embed the images: {who} has a vector in embedding {info.name}.", extract))
    if len(classes) < 2:
        return steps + _list_label_steps(classes, paths, named, n_open=n_open)
    if not find_evaluated(splits):
        whole = " that keeps duplicates together" if has_copies else ""
        told = (
            f"Record a split{whole}, so that heads can be judged by rows that they have not seen."
        )
        steps.append((told, split))
    if lacks_vectors:
        return steps
    if not heads and not n_targets:
        words = ("fit-head", *paths, *named, "-o", "head.joblib")
        steps.append(
            ("Fit a head: this page then shows what it gets wrong.", write_command(*words))
        )
    if any(_has_mistakes(one) for one in heads):
        told = "Look at the most confident mistakes: some may be right, with a wrong label."
        steps.append((told, ""))
    has_network = not info.fingerprint.is_imported
    return steps + _list_curve_steps(curve, paths, named, n_open=n_open, has_network=has_network)


def _list_label_steps(
    classes: Sequence[str], paths: Sequence[str], named: Sequence[str], *, n_open: int
) -> list[Command]:
    """List what to do without two classes: to label rows, if any may be labelled next."""
    if not n_open and classes:
        name = show_text(classes[0], MAX_CLASS)
        return [(f"Add images of another class: all labels are {name}.", "")]
    told = (
        "Label rows of at least two classes: write the labels into the table, and pass it to featx "
        "label."
    )
    return [(told, write_command("suggest", *paths, *named, "-o", "next.csv") if n_open else "")]


def _write_split(
    cache: Cache, splits: Sequence[str], paths: Sequence[str], together: Sequence[str]
) -> str:
    """Write the command that splits all rows anew, into the shares of the splits that there are."""
    held = cache.splits[(cache.labels != "") & (cache.splits != "")]
    has = [name for name in list_choices(Split) if (held == name).any()]
    is_whole = "train" in has and find_evaluated(has) is not None
    shares = {
        name: float((held == name).mean()) if is_whole else VAL for name in has if name != "train"
    }
    words = ["--val", f"{shares.get('val', 0.0 if shares else VAL):.3g}"]
    words += ["--test", f"{shares['test']:.3g}"] if "test" in shares else []
    return write_command("split", *paths, *words, *together, *(["--overwrite"] if splits else []))


def _list_audit_steps(
    audited: AuditReport | None, paths: Sequence[str], named: Sequence[str], split: str
) -> list[Command]:
    """List what follows from an audit."""
    table = write_command("audit", *paths, *named, "--table", "review.csv", "-o", "audit.html")
    if audited is None:
        told = "Duplicates, leaks and wrong labels were not looked for here."
        return [(told, table)]
    steps: list[Command] = []
    if audited.n_leaks:
        steps.append(
            (
                "Split again so that duplicates stay together: the old split lets a head see "
                "copies of what it is judged by. Then fit the heads again.",
                split,
            )
        )
    elif audited.parted_groups:
        steps.append(
            (
                "Split again so that groups stay whole: the old split lets a head see other rows "
                "of the groups that it is judged by. Then fit the heads again.",
                split,
            )
        )
    wrong = audited.label_errors
    if wrong is not None and wrong.is_evident and wrong.n_wrong_ci95[0] > 0:
        low, high = wrong.n_wrong_ci95
        steps.append(
            (
                f"Look at {count_noun(wrong.n_listed, 'label')} first: {low} to {high} of them are "
                "wrong (95 %). Write the right labels into the table, and pass it to featx label.",
                table,
            )
        )
    elif len(audited.conflicts) or audited.n_dropped:
        told = "Look at the duplicates: each counts twice, and may have two labels."
        steps.append((told, table))
    return steps


def _list_curve_steps(
    collected: CollectedCurve,
    paths: Sequence[str],
    named: Sequence[str],
    *,
    n_open: int,
    has_network: bool,
) -> list[Command]:
    """List what follows from a learning curve of all rows; only a network can be fine-tuned."""
    suggest = write_command("suggest", *paths, *named, "-o", "next.csv") if n_open else ""
    advise = write_command("advise", *paths, *named)
    if collected.is_flattered:
        told = "Drop duplicates before you ask whether more labels or fine-tuning would help: "
        return [(f"{told}the learning curve cannot tell while they lie in different folds.", "")]
    if collected.choice is None or collected.curve is None:
        told = "Whether more labels or fine-tuning would help was not measured here."
        return [(told, advise)]
    steps: list[Command] = []
    interval = collected.curve.points[-1].step_ci95
    if interval is not None and interval[0] > 0 and collected.curve.is_sure:
        low, high = (f"{100 * end:+.1f}" for end in interval)
        more = "" if n_open else " No row is left to label: extract more images."
        steps.append(
            (
                "Label more rows: the last doubling changed the accuracy by "
                f"{low} to {high} points.{more}",
                suggest,
            )
        )
    if collected.curve.is_chance:
        told = (
            "Look at the labels, whether they are those of the images: the head has learnt nothing "
            "that can be told from chance."
        )
        steps.append((told, advise))
    elif has_network:
        steps.append((_describe_choice(collected.choice), advise))
    return steps


def _describe_choice(choice: BlockChoice) -> str:
    """Say whether fine-tuning pays, or that it cannot be told."""
    alike = "if your data behave like those that were measured"
    if choice.part != "none":
        part = "the top block" if choice.part == "top" else "half of the blocks"
        return f"Fine-tune {part}: it pays, {alike}."
    if max(choice.gain_top.high, choice.gain_more.high) < MIN_GAIN:
        return f"Stay with a frozen head: fine-tuning brings less than 1 point, {alike}."
    return "Cannot tell whether fine-tuning pays: stay with a frozen head."
