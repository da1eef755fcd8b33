"""Parts of a report that are decided from a few values: pairs, next steps, shown rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.finetune.advise import choose_blocks
from featx.fitting.learning_curve import CurvePoint, LearningCurve
from featx.heads.compare import compare_predictions
from featx.report.collect_curve import CollectedCurve, collect_curve
from featx.report.collect_heads import score_head
from featx.report.collect_pairs import describe_pair
from featx.report.next_steps import list_next_steps, list_summary
from featx.report.parted_copies import find_parted_copies
from featx.report.shown_rows import ShownRows
from tests.builders import MakeCache, build_info, build_rows, write_vectors

ANTS = np.array(["ants"] * 20)
CLASSES = ["ants", "bees"]


@pytest.mark.parametrize(
    ("n_wrong_first", "n_wrong_second", "told"),
    [
        (20, 0, "b is better than a: +100.0 points of accuracy (95 % interval +100.0 to +100.0"),
        (0, 20, "a is better than b: +100.0 points of accuracy (95 % interval +100.0 to +100.0"),
        (1, 0, "Cannot tell b from a: +5.0 points"),
        (0, 1, "Cannot tell b from a: -5.0 points"),
        (3, 3, "Cannot tell b from a: +0.0 points"),
    ],
)
def test_describe_pair_names_a_better_head_only_if_it_is_one(
    n_wrong_first: int, n_wrong_second: int, told: str
) -> None:
    first, second = ANTS.copy(), ANTS.copy()
    first[:n_wrong_first] = "bees"
    second[:n_wrong_second] = "bees"
    scores = compare_predictions(ANTS, first, second)
    assert describe_pair("a", "b", scores, scores.p_value).startswith(told)
    assert describe_pair("a", "b", scores, 0.2).startswith("Cannot tell")  # after a correction
    assert "corrected for 3 pairs" in describe_pair("a", "b", scores, 0.2, n_pairs=3)


def build_curve(low: float, high: float, *, majority: float = 0.5) -> CollectedCurve:
    """Build a curve of all rows whose last step has an interval."""
    last = CurvePoint(
        rows_per_class=40.0,
        accuracy=0.9,
        accuracy_ci95=(0.85, 0.94),
        step=(low + high) / 2,
        step_ci95=(low, high),
    )
    curve = LearningCurve(
        points=(last,),
        majority_accuracy=majority,
        balanced_ci95=(0.85, 0.94) if majority < 0.85 else (0.4, 0.6),
        n_classes=2,
        n_rows=80,
    )
    return CollectedCurve(curve=curve, note="", is_whole=True, choice=choose_blocks(40, curve))


NO_CURVE = CollectedCurve(curve=None, note="")


def list_steps(path: Path, curve: CollectedCurve, **options: Any) -> list[tuple[str, str]]:
    with featx.open_cache(path) as cache:
        found = {"heads": [], "audited": None, "embedding": "tiny"} | options
        splits = found.pop("splits", ["train", "val"])
        classes = found.pop("classes", CLASSES)
        return list_next_steps(cache, classes, splits, curve=curve, **found)


@pytest.mark.parametrize(("low", "helps"), [(0.01, True), (-0.01, False)])
def test_more_labels_are_a_step_only_if_both_ends_of_the_interval_say_so(
    cache_path: Path, low: float, helps: bool
) -> None:
    steps = list_steps(cache_path, build_curve(low, 0.05))
    told = [text for text, _ in steps if text.startswith("Label more rows")]
    assert bool(told) == helps
    if helps:
        assert "+1.0 to +5.0 points. No row is left to label: extract more images." in told[0]


def test_a_curve_of_a_sample_says_nothing_of_more_labels(cache_path: Path) -> None:
    steps = list_steps(cache_path, CollectedCurve(curve=build_curve(0.01, 0.05).curve, note=""))
    assert steps[-1] == (
        "Whether more labels or fine-tuning would help was not measured here.",
        f"featx advise {cache_path}",
    )


def test_a_head_that_has_learnt_nothing_is_told_as_advise_tells_it(cache_path: Path) -> None:
    told = [text for text, _ in list_steps(cache_path, build_curve(-0.01, 0.01, majority=0.9))]
    assert told[-1].startswith("Look at the labels")
    assert not any("ine-tun" in text for text in told)


def test_vectors_of_another_program_cannot_be_fine_tuned(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(4, 3, dtype=np.float32))
    path = tmp_path / "imported.h5"
    featx.import_embeddings(tmp_path / "v.npy", output=path)
    steps = list_steps(path, build_curve(0.01, 0.05), embedding=None)
    assert any(text.startswith("Label more rows") for text, _ in steps)
    assert not any("ine-tun" in text for text, _ in steps)


def test_an_audit_that_was_not_made_is_a_step(cache_path: Path) -> None:
    assert list_steps(cache_path, NO_CURVE)[0][1].startswith(f"featx audit {cache_path} --table ")


def test_groups_in_two_splits_are_told_and_a_step(make_cache: MakeCache) -> None:
    path = make_cache(groups=[f"g{n // 3}" for n in range(60)])
    audited = featx.audit(path)
    told, command = list_steps(path, NO_CURVE, audited=audited)[0]
    assert told.startswith("Split again so that groups stay whole")
    assert command == f"featx split {path} --val 0.333 --overwrite"
    featx.split_cache(path, val=0.333, overwrite=True)
    assert not featx.audit(path).parted_groups


def test_a_split_anew_keeps_the_shares_and_names_the_embedding(tmp_path: Path) -> None:
    splits: list[Any] = ["train"] * 36 + ["val"] * 15 + ["test"] * 9
    rows = build_rows(["ants", "bees"] * 30, splits, [f"g{n // 5}" for n in range(60)])
    rows[40] = replace(rows[40], digest=rows[4].digest)
    X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    infos = [build_info("one"), build_info("two")]
    path = write_vectors(tmp_path / "two.h5", infos, rows, {"one": X, "two": X})
    audited = featx.audit(path, embedding="two", progress=False)
    assert audited.n_leaks == 1
    found = {"audited": audited, "embedding": "two"}
    told, command = list_steps(path, NO_CURVE, **found)[0]
    assert told.startswith("Split again so that duplicates stay together")
    options = "--together similar --embedding two --overwrite"
    assert command == f"featx split {path} --val 0.25 --test 0.15 {options}"
    with pytest.warns(featx.FeatxWarning, match="1 file lies here twice"):
        featx.split_cache(path, val=0, test=0.25, overwrite=True)
    _, command = list_steps(path, NO_CURVE, **found)[0]
    assert command == f"featx split {path} --val 0 --test 0.25 {options}"


def write_scenes(path: Path, **options: Any) -> Path:
    """Write 120 rows, six near-duplicates of each of 20 scenes, whose labels are by chance."""
    rng = np.random.default_rng(6)
    scenes = np.repeat(np.arange(20), 6)
    X = rng.normal(size=(20, 64))[scenes] + 0.02 * rng.normal(size=(120, 64))
    labels = ["ants" if n % 2 else "bees" for n in rng.permutation(20)[scenes]]
    rows = build_rows(labels, [None] * 120, **options)
    return write_vectors(path, [build_info(dim=64)], rows, {"tiny": X.astype(np.float32)})


def test_near_duplicates_in_folds_are_told_and_kept_together(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "scenes.h5")
    audited = featx.audit(path, progress=False)
    head = featx.fit_head(path, C=1.0, progress=False)
    with featx.open_cache(path) as cache:
        scored = score_head(cache, "head", head, split=None)
        told = list_summary(cache, CLASSES, [], heads=[scored], pairs=[], audited=audited)
        curve = collect_curve(cache, "tiny", seed=0, similar=audited.near_duplicates)
    assert scored.scores is not None
    assert scored.scores.accuracy > 0.9  # of labels that say nothing
    assert told[-1].startswith("Near-duplicates of 120 of 120 rows lie in other folds: scores")
    assert curve.is_flattered
    assert "are too high, and say nothing of more labels" in curve.note
    steps = list_steps(path, curve, splits=[], audited=audited, heads=[scored])
    assert any(
        command == f"featx split {path} --val 0.2 --together similar" for _, command in steps
    )
    assert not any("Label more" in text or "frozen" in text for text, _ in steps)


def test_near_duplicates_that_are_units_are_not_parted_by_folds(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "scenes.h5", groups=[f"s{n // 6}" for n in range(120)])
    audited = featx.audit(path, progress=False)
    assert len(audited.near_duplicates)
    with featx.open_cache(path) as cache:
        assert not find_parted_copies(cache, audited.near_duplicates, np.arange(120)).any()


def test_without_splits_and_heads_these_are_the_steps(make_cache: MakeCache) -> None:
    path = make_cache(splits=False)
    with featx.open_cache(path) as cache:
        steps = list_next_steps(
            cache, ["ants", "bees"], [], heads=[], audited=None, curve=NO_CURVE, embedding="tiny"
        )
    commands = [command.split()[1] for _, command in steps]
    assert commands == ["audit", "split", "fit-head", "advise"]


def write_labelled(path: Path, labels: list[str | None], *, n_vectors: int) -> Path:
    """Write a cache of such labels whose first rows have a vector."""
    X = np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32)
    X[n_vectors:] = np.nan
    rows = build_rows(labels, [None] * len(labels))
    return write_vectors(path, [build_info()], rows, {"tiny": X})


def test_with_labels_of_one_class_the_step_can_be_taken(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "one.h5", ["ants"] * 10, n_vectors=10)
    steps = list_steps(path, NO_CURVE, classes=["ants"], splits=[])
    assert steps[-1] == ("Add images of another class: all labels are ants.", "")
    path = write_labelled(tmp_path / "open.h5", ["ants"] * 9 + [None], n_vectors=10)
    told, command = list_steps(path, NO_CURVE, classes=["ants"], splits=[])[-1]
    assert told.startswith("Label rows of at least two classes")
    assert command == f"featx suggest {path} -o next.csv"


@pytest.mark.parametrize(("n_vectors", "who"), [(0, "no row"), (10, "no labelled row")])
def test_without_vectors_these_are_the_step(tmp_path: Path, n_vectors: int, who: str) -> None:
    labels: list[str | None] = [None] * 10 + ["ants", "bees"] * 10
    path = write_labelled(tmp_path / "few.h5", labels, n_vectors=n_vectors)
    steps = list_steps(path, NO_CURVE, splits=[])
    assert steps[1][0] == f"Embed the images: {who} has a vector in embedding tiny."
    assert steps[1][1].startswith(f"featx extract generated -o {path} --backbone tiny")
    words = [command.split()[1] for _, command in steps if command]
    assert words == ["audit", "extract", "split"]


def test_a_split_without_held_out_rows_has_to_be_recorded_anew(make_cache: MakeCache) -> None:
    with featx.open_cache(make_cache(n_train=60, n_val=0)) as cache:
        curve = CollectedCurve(curve=None, note="")
        steps = list_next_steps(
            cache,
            ["ants", "bees"],
            ["train"],
            heads=[],
            audited=None,
            curve=curve,
            embedding="tiny",
        )
    assert any(command.endswith("--val 0.2 --overwrite") for _, command in steps)


def test_shown_rows_are_held_once_in_the_order_of_their_first_mention(cache_path: Path) -> None:
    with featx.open_cache(cache_path) as cache:
        shown = ShownRows(cache, ["ants", "bees"], ["train", "val"])
        assert shown.place([7, 3]).tolist() == [0, 1]
        assert shown.place([3, 50, 7], as_cards=True).tolist() == [1, 2, 0]
        assert shown.rows.tolist() == [7, 3, 50]
        columns, note = shown.read(None, 0)
        assert list(columns.ids) == cache.ids[[7, 3, 50]].tolist()
        assert columns.labels.tolist() == [0, 0, 1]
        assert columns.splits.tolist() == [0, 0, 1]
    assert columns.thumbnails == [None] * 3
    assert note == ""
