"""Reports: the values that a page shows, and what the command says of it."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.report.collect_curve import CollectedCurve
from featx.report.contents import ReportContents
from featx.report.report_page import render_report
from featx.report.write_report import RESERVE
from tests.builders import MakeCache, MakeInfo, mark_learnt

RunCli = Callable[..., Any]
Collect = Callable[..., tuple[ReportContents, featx.Report]]

pytestmark = pytest.mark.filterwarnings("ignore:.* cannot be shown")  # made-up rows have no images

QUICK = {"audit": False, "explain": False}
"""Options without the parts that other tests are about."""


@pytest.fixture
def collect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collect:
    """Write a report, and return what the page was rendered from."""
    rendered: list[ReportContents] = []

    def keep(contents: ReportContents) -> str:
        rendered.append(contents)
        return render_report(contents)

    monkeypatch.setattr("featx.report.write_report.render_report", keep)

    def skip_curve(*_: Any, **__: Any) -> CollectedCurve:
        return CollectedCurve(curve=None, note="")

    def write(
        cache: Any, heads: Any = (), *, curve: bool = False, **options: Any
    ) -> tuple[ReportContents, featx.Report]:
        if not curve:  # it takes a second
            monkeypatch.setattr("featx.report.collect.collect_curve", skip_curve)
        done = featx.write_report(cache, heads, tmp_path / "report.html", **options)
        assert done.n_bytes == (tmp_path / "report.html").stat().st_size
        return rendered[-1], done

    return write


def fit(cache: Path, tmp_path: Path, name: str = "head.joblib", **options: Any) -> Path:
    featx.fit_head(cache, tmp_path / name, progress=False, **options)
    return tmp_path / name


def flip(cache: Path, rows: Sequence[int]) -> None:
    """Give rows of val the label of the other class."""
    other = {"ants": "bees", "bees": "ants"}
    with featx.open_cache(cache) as opened:
        labels = {opened.ids[row]: other[opened.labels[row]] for row in rows}
    featx.label_cache(cache, labels, author="me")


# --- one head


def test_mistakes_are_the_wrong_rows_of_val_the_most_confident_first(
    cache_path: Path, tmp_path: Path, collect: Collect
) -> None:
    head = fit(cache_path, tmp_path)
    flip(cache_path, [41, 44, 57])
    contents, done = collect(cache_path, head, **QUICK)
    (part,) = contents.heads
    assert part.n_mistakes == 3
    assert done.n_mistakes == (3,)
    with featx.open_cache(cache_path) as cache:
        wrong = [cache.ids[row] for row in (41, 44, 57)]
        X = cache.read_vectors(None, np.array([41, 44, 57]))
        labels = cache.labels[[41, 44, 57]].tolist()
    shares = featx.load_head(head).predict_proba(X)
    order = np.argsort(-shares.max(axis=1)).tolist()
    assert [contents.rows.ids[one.row] for one in part.mistakes] == [wrong[k] for k in order]
    for one, k in zip(part.mistakes, order, strict=True):
        assert one.score == pytest.approx(shares[k].max())
        assert one.true_score == pytest.approx(1 - shares[k].max())
        assert (one.true, contents.classes[contents.rows.labels[one.row]]) == (labels[k],) * 2
    assert part.scores is not None
    assert part.scores.accuracy == featx.evaluate(head, cache_path).accuracy == 17 / 20
    scores = [one.score or 0.0 for one in part.unsure]
    assert scores == sorted(scores)


def test_cells_of_the_confusion_hold_their_rows(
    cache_path: Path, tmp_path: Path, collect: Collect
) -> None:
    head = fit(cache_path, tmp_path)
    flip(cache_path, [41, 44, 57])
    contents, _ = collect(cache_path, head, **QUICK)
    (part,) = contents.heads
    assert part.scores is not None
    assert part.is_matrix
    assert sum(cell.n_rows for cell in part.cells) == 20
    for cell in part.cells:
        assert cell.n_rows == len(cell.rows) == part.scores.confusion[cell.true][cell.predicted]
        for row in cell.rows.tolist():
            assert contents.classes[contents.rows.labels[row]] == part.classes[cell.true]
            assert part.predicted[row] == cell.predicted
        tops = part.predicted_scores[cell.rows]
        assert (np.diff(tops) <= 0).all()
    train = contents.rows.splits == contents.splits.index("train")
    assert (part.predicted[train] == -1).all()
    assert np.isnan(part.predicted_scores[train]).all()


def test_many_classes_are_told_by_their_worst_pairs(
    make_cache: MakeCache, tmp_path: Path, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.report.collect_heads.MAX_MATRIX", 1)
    path = make_cache()
    head = fit(path, tmp_path)
    flip(path, [41, 44, 57])  # ants, bees, ants
    part = collect(path, head, **QUICK)[0].heads[0]
    assert not part.is_matrix
    found = [(part.classes[c.true], part.classes[c.predicted], c.n_rows) for c in part.cells]
    assert found == [("bees", "ants", 2), ("ants", "bees", 1)]


def test_a_head_that_has_learnt_from_all_rows_is_judged_in_folds(
    make_cache: MakeCache, tmp_path: Path, collect: Collect
) -> None:
    path = make_cache(splits=False)
    flip(path, [3, 8])
    head = fit(path, tmp_path)
    held_out = featx.load_head(head).cross_validation
    assert held_out is not None
    part = collect(path, head, **QUICK)[0].heads[0]
    assert part.split == f"all, held out in {held_out.n_folds} folds"
    assert part.scores == held_out.scores
    assert part.held_out == (held_out.scores.accuracy, *held_out.scores.accuracy_ci95)
    assert len(part.mistakes) == part.n_mistakes == 2
    assert "each row that is shown is predicted by a head of the same kind" in part.notes[0]
    assert "Record a split with val rows" in part.notes[0]


def test_rows_that_the_network_has_learnt_from_are_counted(
    make_cache: MakeCache, tmp_path: Path, collect: Collect
) -> None:
    path = mark_learnt(make_cache(splits=False), slice(0, 10))
    with pytest.warns(featx.FeatxWarning, match="learnt from by the network"):
        head = fit(path, tmp_path)
    contents, _ = collect(path, head, curve=True, **QUICK)
    (part,) = contents.heads
    assert part.scores is not None
    assert part.scores.n_rows == 50
    assert "The head or its network has learnt from all 60 rows" in part.notes[0]
    assert "10 of them could not be held out" in part.notes[1]
    assert "10 of 60 rows were learnt from by the network" in contents.curve_note


def test_classes_of_one_unit_are_told_in_folds(
    make_cache: MakeCache, tmp_path: Path, collect: Collect
) -> None:
    path = make_cache(splits=False)
    with featx.open_cache(path) as cache:
        wasp = cache.ids[20]
    with pytest.warns(featx.FeatxWarning, match="new label 'wasps'"):
        featx.label_cache(path, {wasp: "wasps"}, author="me")
    with pytest.warns(featx.FeatxWarning, match="a single row"):
        head = fit(path, tmp_path)
    part = collect(path, head, **QUICK)[0].heads[0]
    assert part.scores is not None
    assert part.scores.n_rows == 60
    said = "1 of 3 classes cannot be held out, and count as wrong: all rows of wasps"
    assert said in part.notes[-1]


def test_with_val_rows_no_other_split_is_asked_for(
    cache_path: Path, tmp_path: Path, collect: Collect
) -> None:
    part = collect(cache_path, fit(cache_path, tmp_path, split="all"), **QUICK)[0].heads[0]
    assert part.split.startswith("val, held out in ")
    assert "Fit it on the split train alone" in part.notes[0]


def test_rows_that_were_not_learnt_from_are_judged_alone(
    cache_path: Path, tmp_path: Path, collect: Collect
) -> None:
    head = fit(cache_path, tmp_path)
    part = collect(cache_path, head, split="all", **QUICK)[0].heads[0]
    assert part.scores is not None
    assert part.scores.n_rows == 20
    assert any("40 of 60 rows were used to fit" in one for one in part.notes)
    assert any("the other 20 rows are scored" in one for one in part.notes)


def test_a_head_that_cannot_be_judged_says_why(
    make_cache: MakeCache, tmp_path: Path, collect: Collect
) -> None:
    path = make_cache(n_train=4, n_val=0, splits=False)
    with pytest.warns(featx.FeatxWarning, match="too few rows"):
        head = fit(path, tmp_path, C=1.0)
    contents, done = collect(path, head, **QUICK)
    (part,) = contents.heads
    assert part.scores is None
    assert not part.mistakes
    assert "no mistakes are shown: they are too few" in part.notes[0]
    assert done.n_mistakes == (None,)
    assert any("not scored" in one for one in contents.summary)


def test_a_head_without_rows_to_show_has_the_scores_that_it_carries(
    make_cache: MakeCache, tmp_path: Path, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.report.collect_heads.MAX_HELD_OUT", 10)
    path = make_cache(splits=False)
    flip(path, [3, 8])
    head = fit(path, tmp_path)
    part = collect(path, head, **QUICK)[0].heads[0]
    carried = featx.load_head(head).cross_validation
    assert carried is not None
    assert part.scores == carried.scores
    assert part.split == "all, held out"
    assert not part.mistakes
    assert part.n_mistakes == 2
    assert all(not len(cell.rows) for cell in part.cells)
    assert "they are too many" in part.notes[0]
    page = (tmp_path / "report.html").read_text()
    assert f"2 of {part.scores.n_rows} predictions are wrong" in page
    assert "No prediction is wrong" not in page


def test_a_head_that_cannot_be_fitted_again_says_why(
    make_cache: MakeCache, tmp_path: Path, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise featx.HeadError(subject="logreg", expected="memory", got="none", remedy="Add some.")

    monkeypatch.setattr("featx.report.collect_heads.hold_out", refuse)
    path = make_cache(splits=False)
    part = collect(path, fit(path, tmp_path), **QUICK)[0].heads[0]
    assert part.notes[0].endswith(
        "the head cannot be fitted again: logreg: expected memory, got none. Add some."
    )


# --- several heads, other heads


def test_heads_are_paired_on_the_rows_that_neither_has_learnt_from(
    make_cache: MakeCache, make_info: MakeInfo, tmp_path: Path, collect: Collect
) -> None:
    path = make_cache(infos=[make_info("tiny@conv", layer="conv", dim=4), make_info("tiny")])
    one = fit(path, tmp_path, "one.joblib", embedding="tiny")
    both = fit(path, tmp_path, "both.joblib", embedding=["tiny", "tiny@conv"])
    contents, done = collect(path, [one, both], **QUICK)
    assert done.heads == ("one.joblib", "both.joblib")
    (pair,) = contents.pairs
    assert pair.scores.n_rows == 20
    found = featx.compare_heads([one, both], path)
    assert [pair.scores.first, pair.scores.second] == [
        next(c.accuracy for c in found.candidates if c.name == name) for name in done.heads
    ]
    assert pair.verdict.startswith("Cannot tell both.joblib from one.joblib: ")
    assert contents.points is not None
    assert "Embedding tiny." in contents.points.text


def test_a_head_judged_in_folds_is_paired_with_another_one_of_these_alone(
    cache_path: Path, tmp_path: Path, collect: Collect
) -> None:
    train = fit(cache_path, tmp_path, "train.joblib")
    every = fit(cache_path, tmp_path, "every.joblib", split="all")
    again = fit(cache_path, tmp_path, "again.joblib", split="all", C=1e-5)
    contents, _ = collect(cache_path, [train, every, again], **QUICK)
    (pair,) = contents.pairs
    assert (pair.first, pair.second) == ("every.joblib", "again.joblib")
    told = [text for text in contents.summary if "are not compared" in text]
    assert len(told) == 2
    assert told[0].startswith("train.joblib and every.joblib are not compared: one of them has")


def test_a_head_for_a_number_has_a_table_of_scores(
    cache_path: Path, tmp_path: Path, collect: Collect
) -> None:
    with featx.open_cache(cache_path) as cache:
        sizes = {id_: float(row % 7) for row, id_ in enumerate(cache.ids)}
    featx.label_cache(cache_path, sizes, field="size", author="me")
    number = fit(cache_path, tmp_path, target="size")
    contents, done = collect(cache_path, number, **QUICK)
    (part,) = contents.targets
    assert ("Predicts", "the number size") in part.facts
    assert [name for name, _ in part.scores] == ["Rows scored", "R2", "mean absolute error"]
    assert part.scores[0][1] == "20"
    assert part.split == "val"
    assert not any(text.startswith("Fit a head") for text, _ in contents.next_steps)
    assert not contents.heads
    assert done.n_mistakes == (None,)


def test_a_head_for_a_number_is_not_judged_by_rows_that_it_has_learnt_from(
    cache_path: Path, tmp_path: Path, collect: Collect
) -> None:
    with featx.open_cache(cache_path) as cache:
        sizes = {id_: float(row % 7) for row, id_ in enumerate(cache.ids) if row != 41}
    featx.label_cache(cache_path, sizes, field="size", author="me")
    with pytest.warns(featx.FeatxWarning, match="without size"):
        some = fit(cache_path, tmp_path, "some.joblib", target="size", split="val")
    with pytest.warns(featx.FeatxWarning, match="without size"):
        every = fit(cache_path, tmp_path, "every.joblib", target="size", split="all")
    few, none = collect(cache_path, [some, every], split="all", **QUICK)[0].targets
    assert few.split == "all"
    assert few.scores[0] == ("Rows scored", "40")
    assert any("19 of 59 rows were used to fit the head: they are left out" in t for t in few.notes)
    assert none.split == "all, held out"
    assert any("learnt from all 59 rows of split all" in text for text in none.notes)


def test_a_head_for_several_classes_lists_them(
    cache_path: Path, tmp_path: Path, collect: Collect
) -> None:
    head = fit(cache_path, tmp_path, several=True)
    (part,) = collect(cache_path, head, **QUICK)[0].targets
    assert [line[0] for line in part.lines] == ["ants", "bees"]
    assert len(part.columns) == len(part.lines[0])


# --- data


def test_counts_and_samples_are_of_all_rows(
    make_cache: MakeCache, tmp_path: Path, collect: Collect
) -> None:
    path = make_cache()
    with featx.open_cache(path) as cache:
        pairs = Counter(zip(cache.labels.tolist(), cache.splits.tolist(), strict=True))
    contents, done = collect(path, **QUICK)
    assert (contents.classes, contents.splits) == (["ants", "bees"], ["train", "val"])
    for line, label in enumerate(["ants", "bees", ""]):
        for column, split in enumerate(["train", "val", ""]):
            assert contents.counts[line, column] == pairs[label, split]
    for code, rows in contents.samples.items():
        assert len(rows) == 8
        assert (contents.rows.labels[rows] == code).all()
    assert contents.heads == []
    assert done.n_points == done.n_shown == 60
    assert contents.points is not None
    assert sorted(contents.points.rows.tolist()) == list(range(60))


def test_a_cache_without_labels_has_a_page(
    make_cache: MakeCache, tmp_path: Path, collect: Collect
) -> None:
    path = make_cache(splits=False)
    with featx.open_cache(path) as cache:
        featx.label_cache(path, dict.fromkeys(cache.ids, ""), author="me")
    head = fit(make_cache("other.h5"), tmp_path)
    contents, _ = collect(path, head, curve=True, **QUICK)
    assert contents.heads[0].scores is None
    assert contents.heads[0].notes == ("Not scored: expected labelled rows, got none.",)
    assert contents.classes == []
    assert contents.counts.tolist() == [[60]]
    assert len(contents.samples[0]) == 8
    assert contents.curve is None
    assert contents.curve_note.startswith("Not measured: ")
    assert "featx suggest" in contents.next_steps[-1][1]


def test_images_are_shown_and_those_that_are_gone_are_told(
    photos: Path, photos_cache: Path, tmp_path: Path, collect: Collect
) -> None:
    (photos / "train/ants/0.jpg").unlink()
    with pytest.warns(featx.FeatxWarning, match="cannot be shown"):
        contents, done = collect(photos_cache, **QUICK)
    assert (done.n_images, done.n_missing) == (11, 1)
    gone = contents.rows.ids.index("train/ants/0.jpg")
    assert contents.rows.thumbnails[gone] is None
    assert "1 image of 12 rows on this page cannot be shown" in contents.images_note


def test_a_page_has_no_more_images_than_its_size_allows(
    photos_cache: Path, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents, done = collect(photos_cache, **QUICK)
    sizes = [len(one or "") for one in contents.rows.thumbnails]
    base = done.n_bytes - sum(sizes)  # with all that stands around an image
    limit = base + RESERVE + sum(sizes) // 2
    monkeypatch.setattr("featx.report.write_report.MAX_BYTES", limit)
    contents, done = collect(photos_cache, **QUICK)
    assert 0 < done.n_images < 12
    assert done.n_bytes <= limit
    assert f"{12 - done.n_images} images of 12 rows on this page are left out" in (
        contents.images_note
    )


def test_the_audit_is_on_the_page(photos_cache: Path, collect: Collect) -> None:
    contents, _ = collect(photos_cache, explain=False)
    titles = [one.title for one in contents.findings]
    assert titles[:3] == [
        "Leaks between splits", "Groups in several splits", "Duplicates in one split",
    ]  # fmt: skip
    assert collect(photos_cache, **QUICK)[0].findings == []


def test_class_maps_lie_over_the_images_or_the_note_says_why_not(
    photos_cache: Path, tmp_path: Path, collect: Collect
) -> None:
    head = fit(photos_cache, tmp_path)
    part = collect(photos_cache, head, audit=False)[0].heads[0]
    assert part.map_note.startswith("The maps are exact")
    assert "Orange, with a line around what is strong, speaks for the class" in part.map_note
    assert not part.mistakes
    assert part.map_note in (tmp_path / "report.html").read_text()
    for one in part.unsure:
        assert [label for label, _ in one.maps] == list(dict.fromkeys((one.predicted, one.true)))
        assert all(uri.startswith("data:image/webp;base64,") for _, uri in one.maps)
    near = fit(photos_cache, tmp_path, "near.joblib", kind="knn")
    part = collect(photos_cache, near, audit=False)[0].heads[0]
    assert part.map_note.startswith("No class maps: ")
    assert not any(one.maps for one in part.unsure)


# --- commands and the door


def test_commands_make_the_same_head_again(
    cache_path: Path, tmp_path: Path, collect: Collect, run_cli: RunCli
) -> None:
    featx.split_cache(cache_path, val=0.25, seed=3, overwrite=True, author="me")
    head = fit(cache_path, tmp_path, kind="ridge", class_weight="balanced", scaling="l2")
    commands = collect(cache_path, {"balanced": head}, **QUICK)[0].commands
    words = shlex.split(next(command for _, command in commands if " fit-head " in command))
    assert words[words.index("-o") + 1] == str(head)
    again = tmp_path / "again.joblib"
    words[words.index("-o") + 1] = str(again)
    assert run_cli(*words[1:]).code == 0
    assert any("splits: val=0.25, test=0, seed=3" in text for text, _ in commands)
    (_, report), loaded = commands[-1], featx.load_head(head)
    assert shlex.split(report)[:4] == ["featx", "report", str(cache_path), str(head)]
    (_, report) = collect(cache_path, loaded, **QUICK)[0].commands[-1]
    assert shlex.split(report)[3] == "head-1-ridge.joblib"
    first, second = featx.load_head(head), featx.load_head(again)
    assert (first.kind, first.params, first.options) == (
        second.kind,
        second.params,
        second.options,
    )
    assert first.seen.tolist() == second.seen.tolist()


@pytest.mark.parametrize(
    ("name", "error"),
    [("report.png", "ends in .html"), ("other.html", "that featx wrote"), ("cache.h5", ".html")],
)
def test_a_file_that_is_no_page_of_featx_is_refused(
    cache_path: Path, tmp_path: Path, name: str, error: str
) -> None:
    (tmp_path / "other.html").write_text("<p>mine</p>")
    with pytest.raises(featx.FeatxError, match=error):
        featx.write_report(cache_path, (), tmp_path / name)
    assert (tmp_path / "other.html").read_text() == "<p>mine</p>"


def test_command_says_what_the_page_shows(
    photos_cache: Path, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    head = fit(photos_cache, tmp_path)
    words = ("report", photos_cache, head, "--no-explain", "--no-audit")
    first = run_cli(*words).out.splitlines()
    assert first[0].startswith("report.html: 12 rows, 12 of them on the map; images of 12 of 12 ")
    assert first[1] == "  head.joblib: 0 wrong predictions"
    assert json.loads(run_cli(*words, "--json").out)["n_images"] == 12
    run_cli("report", tmp_path / "none.h5").check_error("none.h5")


@pytest.mark.slow
def test_the_flower_among_the_ants_is_among_the_first_mistakes(
    shared: Path, tmp_path: Path, collect: Collect
) -> None:
    cache, flower = tmp_path / "hymenoptera.h5", "val/ants/892676922_4ab37dce07.jpg"
    for name, weights in (
        ("mobilenet_v2", "mobilenet_v2-imagenet-backbone.pth"),
        ("squeezenet1_1", "squeezenet1_1-imagenet.pth"),
    ):
        featx.extract(
            shared / "data/hymenoptera_data",
            cache,
            backbone=name,
            weights=str(shared / "weights" / weights),
            progress=False,
        )
    names = ("mobilenet_v2", "squeezenet1_1")
    heads = [fit(cache, tmp_path, f"{name}.joblib", embedding=name) for name in names]
    contents, done = collect(cache, heads, curve=True)
    mobilenet, squeezenet = contents.heads
    mistakes = [contents.rows.ids[one.row] for one in squeezenet.mistakes]
    assert flower in mistakes[:8]
    unsure = [contents.rows.ids[one.row] for one in mobilenet.unsure]
    assert flower in unsure[:6]  # right by a hair: "ants" with a probability of 0.58
    assert all(one.maps for part in contents.heads for one in (*part.mistakes, *part.unsure))
    assert done.n_images == 398
    assert done.n_bytes < 5_000_000
