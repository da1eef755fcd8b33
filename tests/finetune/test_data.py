"""Which rows are learnt from and compared on, and what is refused before a network is loaded."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from featx.cache.joined import open_cache
from featx.core.errors import FeatxWarning, FingerprintError, HeadError, TuningError
from featx.core.learnt import shorten_digests
from featx.finetune import data as data_module
from featx.finetune.data import drop_seen, find_entries
from featx.finetune.holdout import LabelledRows
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from featx.fitting.split import split_cache
from featx.heads.head import Head
from featx.images.sources.read import read_manifest

from .doubles_scene import CLASSES, RECIPE, Scene, decide, extract_scene, read_scene
from .test_holdout import build_rows

MakeScene = Callable[..., Scene]
MakeImage = Callable[..., Path]

# ---- decisions about columns


def digest_all(n_rows: int) -> LabelledRows:
    digests = np.array([f"{number:064x}" for number in range(n_rows)])
    return build_rows(["a"] * n_rows, digests=np.array([text[::-1] for text in digests]))


def test_drop_seen_drops_rows_of_the_same_content() -> None:
    rows = digest_all(5)
    seen = shorten_digests(rows.digests[[1, 3]])
    with pytest.warns(FeatxWarning, match=r"^c\.h5: 2 of 5 rows were left out, because the head "):
        assert drop_seen(rows, seen, "c.h5").ids.tolist() == ["0", "2", "4"]
    assert len(drop_seen(rows, np.zeros(0, np.uint64), "c.h5")) == 5


def test_drop_seen_of_all_is_refused() -> None:
    rows = digest_all(5)
    with pytest.raises(TuningError, match=r"^c\.h5, split val: .*has seen, got none of 5\. Fit"):
        drop_seen(rows, shorten_digests(rows.digests), "c.h5, split val")


def test_find_entries_are_in_the_order_of_the_rows(folder: Path) -> None:
    manifest = read_manifest(folder)
    found = find_entries(["03.png", "01.png"], manifest, subject="c.h5", source="photos")
    assert [entry.row.id for entry in found] == ["03.png", "01.png"]


@pytest.mark.parametrize(
    ("ids", "got"),
    [(["03.png", "99.png", "98.png"], "2 missing, such as 99.png"), ([], "no labelled rows")],
)
def test_find_entries_that_are_missing_names_one(folder: Path, ids: list[str], got: str) -> None:
    manifest = read_manifest(folder)
    with pytest.raises(
        TuningError, match=rf"^c\.h5: .*in the source, got {got}\. Pass the source .*: photos\.$"
    ):
        find_entries(ids, manifest, subject="c.h5", source="photos")


# ---- the data of a cache


def test_data_divides_the_split_train_and_has_its_labels(scene: Scene, weak_head: Head) -> None:
    data = read_scene(scene, head=weak_head)
    examples, (_, y) = data.examples, scene.read("train")
    assert len(examples.holdout) == 8  # of 42
    assert sorted([*examples.train, *examples.holdout]) == list(range(42))
    assert set(examples.y[examples.holdout]) == set(examples.y[examples.train]) == {0, 1, 2}
    np.testing.assert_array_equal(weak_head.classes[examples.y], y)
    assert [entry.row.id for entry in data.entries] == data.train.ids.tolist()
    assert [entry.row.id for entry in data.test_entries] == data.test.ids.tolist()
    assert (data.split, len(data.test)) == ("val", 18)


def test_data_of_another_seed_has_another_holdout(scene: Scene, weak_head: Head) -> None:
    holdouts = [
        read_scene(scene, head=weak_head, recipe=replace(RECIPE, seed=seed)).examples.holdout
        for seed in (0, 1)
    ]
    assert set(holdouts[0]) != set(holdouts[1])


def test_data_of_a_split_that_is_asked_for(scene: Scene, weak_head: Head) -> None:
    data = read_scene(scene, head=weak_head, split="test")
    assert (data.split, len(data.test)) == ("test", 9)


Line = dict[str, str]


def write_table(scene: Scene, path: Path, change: Callable[[int, Line], Line]) -> Path:
    """Write a table of the images of train and val; a function may change each line."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("path", "split", "label", "group"))
        writer.writeheader()
        for split in ("train", "val"):
            for label in CLASSES:
                for number, file in enumerate(sorted((scene.folder / split / label).iterdir())):
                    line = {"path": str(file), "split": split, "label": label}
                    writer.writerow(change(number, line))
    return path


def keep(_: int, line: Line) -> Line:
    """Leave a line as it is."""
    return line


def tabulate(scene: Scene, folder: Path, change: Callable[[int, Line], Line] = keep) -> Scene:
    """Extract a table of the images."""
    table = write_table(scene, folder / "photos.csv", change)
    return Scene(table, extract_scene(table, folder / "table.h5", backbone="lenet5"))


def test_data_of_groups_keeps_them_together(scene: Scene, tmp_path: Path) -> None:
    def group(number: int, line: Line) -> Line:
        return line | {"group": f"{line['label']}{number // 2}"}

    grouped = tabulate(scene, tmp_path, group)
    data = read_scene(grouped, head=fit_head(grouped.cache, C=1.0))
    groups, examples = data.train.groups, data.examples
    assert len(groups) == len(examples.train) + len(examples.holdout) == 42
    assert len(examples.holdout) >= 4
    assert set(groups[examples.train]).isdisjoint(groups[examples.holdout])
    of_unit = {(unit, name) for unit, name in zip(examples.units, groups, strict=True)}
    assert len(of_unit) == len(set(groups)) == len(set(examples.units))


@pytest.mark.filterwarnings("ignore:.*1 without a label.* was left out:featx.FeatxWarning")
def test_data_leaves_rows_without_a_label_out_and_says_so(scene: Scene, tmp_path: Path) -> None:
    def unlabel(number: int, line: Line) -> Line:
        return line | {"label": "" if number == 3 and line["label"] == "rows" else line["label"]}

    partly = tabulate(scene, tmp_path, unlabel)
    head = fit_head(partly.cache, C=1.0)
    with pytest.warns(FeatxWarning) as caught:
        data = read_scene(partly, head=head)
    assert (len(data.train), len(data.test)) == (41, 17)
    assert [str(one.message).split(", ", 1)[1] for one in caught] == [
        "split train: of 42 rows, 1 without a label was left out",
        "split val: of 18 rows, 1 without a label was left out",
    ]


def test_data_leaves_images_that_the_cache_lacks_out_and_says_so(
    own_scene: Scene, weak_head: Head, make_image: MakeImage
) -> None:
    make_image(own_scene.folder / "train/rows/99.png")
    with pytest.warns(FeatxWarning, match=r"^1 of 70 images of .* is not in .*photos\.h5: bring"):
        assert len(read_scene(own_scene, head=weak_head).entries) == 42


def test_data_compares_on_no_row_that_a_model_has_seen(
    own_scene: Scene, make_scene: MakeScene
) -> None:
    # Two images of the split train lie in val again: a model that learnt one knows the other.
    for number in range(2):
        shutil.copy(
            own_scene.folder / f"train/rows/0{number}.png",
            own_scene.folder / f"val/rows/0{number}.png",
        )
    extract_scene(own_scene.folder, own_scene.cache, backbone="lenet5")
    # The tuned model learns from them, whether the head did or not.
    for fitted_on in (own_scene.cache, make_scene(seed=1).cache):
        head = fit_head(fitted_on, C=1.0)
        with pytest.warns(FeatxWarning, match=r"split val: 2 of 18 rows were left out, because"):
            assert len(read_scene(own_scene, head=head).test) == 16


@pytest.mark.parametrize("kind", ["logreg", "linear-svm"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_start_is_the_head_or_the_same_without_the_holdout(
    make_scene: MakeScene, kind: str, n_classes: int
) -> None:
    scene, other = make_scene(n_classes), make_scene(n_classes, seed=1)
    foreign = fit_head(other.cache, kind=kind, C=1.0)
    assert read_scene(scene, head=foreign).start is foreign.estimator
    own = fit_head(scene.cache, kind=kind, C=1.0)
    data = read_scene(scene, head=own)
    X, y = scene.read("train")
    train = data.examples.train
    expected = decide(own.refit(X[train], y[train]), X)
    np.testing.assert_array_equal(decide(data.start, X), expected)
    difference = np.abs(decide(own.estimator, X) - expected).max()
    assert difference > 1e-2 * np.abs(expected).max()


def test_data_without_a_head_fits_one_on_the_split_train(
    scene: Scene, weak_head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def fit(_cache: object, **options: Any) -> Head:
        calls.append(options)
        return weak_head

    monkeypatch.setattr(data_module, "fit_head", fit)
    assert read_scene(scene, recipe=replace(RECIPE, seed=3)).head is weak_head
    assert (calls[0]["split"], calls[0]["seed"]) == ("train", 3)


# ---- what is refused


@pytest.mark.parametrize("split", ["val", "all"])
def test_data_with_a_head_that_has_seen_the_whole_split_is_refused(
    scene: Scene, split: str
) -> None:
    head = fit_head(scene.cache, C=1.0, split=split)
    with pytest.raises(TuningError, match=r"split val: expected images that neither .*got none"):
        read_scene(scene, head=head)


@pytest.mark.parametrize(
    "steps",
    [
        [Normalizer(), LogisticRegression()],
        [StandardScaler(), PCA(5), SVC()],
    ],
)
def test_data_with_a_head_that_is_no_matrix_is_refused(
    scene: Scene, weak_head: Head, steps: list[Any]
) -> None:
    X, y = scene.read("train")
    names = [type(step).__name__ for step in steps]
    estimator = Pipeline(list(zip(names, steps, strict=True))).fit(X, y)
    with pytest.raises(HeadError, match=rf"expected a StandardScaler.*got {', '.join(names)}\. "):
        read_scene(scene, head=replace(weak_head, estimator=estimator))


def test_data_whose_holdout_takes_a_whole_class_is_refused(
    scene: Scene, weak_head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_all_but_one_class(train: LabelledRows, *_: object) -> tuple[Any, Any]:
        is_first = train.labels == train.labels[0]
        return np.flatnonzero(is_first), np.flatnonzero(~is_first)

    monkeypatch.setattr(data_module, "hold_out", take_all_but_one_class)
    with pytest.raises(TuningError, match=r"rows of each class outside the holdout, got none of"):
        read_scene(scene, head=weak_head)


@pytest.mark.parametrize("name", ["train/rows/03.png", "val/rows/03.png"])
def test_data_of_a_source_that_lacks_a_row_is_refused(
    own_scene: Scene, weak_head: Head, name: str
) -> None:
    (own_scene.folder / name).unlink()
    with pytest.raises(TuningError, match=rf"got 1 missing, such as {name}\. Pass the source"):
        read_scene(own_scene, head=weak_head)


def test_data_of_another_source_is_refused(scene: Scene, weak_head: Head, folder: Path) -> None:
    with pytest.raises(TuningError, match=r"got 42 missing, such as train/"):
        read_scene(Scene(folder, scene.cache), head=weak_head)


def test_data_with_labels_that_the_head_does_not_know_is_refused(
    make_scene: MakeScene, scene: Scene
) -> None:
    head = fit_head(make_scene(2).cache, C=1.0)
    with pytest.raises(TuningError, match=r"expected labels that the head knows, got 'rows'"):
        read_scene(scene, head=head)


def test_data_of_an_inner_layer_is_refused(scene: Scene, tmp_path: Path) -> None:
    cache = extract_scene(scene.folder, tmp_path / "inner.h5", backbone="lenet5", layers=["c5"])
    with pytest.raises(TuningError, match=r"expected the input of the classifier.*got layer c5"):
        read_scene(Scene(scene.folder, cache), head=fit_head(cache, C=1.0))


def test_data_with_a_head_of_another_network_is_refused(scene: Scene, tmp_path: Path) -> None:
    cache = extract_scene(scene.folder, tmp_path / "mini.h5", backbone="mini")
    with pytest.raises(FingerprintError, match=r"backbone mini"):
        read_scene(scene, head=fit_head(cache, C=1.0))


def test_data_of_a_cache_without_splits_is_refused(scene: Scene, tmp_path: Path) -> None:
    cache = extract_scene(scene.folder / "train", tmp_path / "flat.h5", backbone="lenet5")
    with open_cache(cache) as opened:
        assert opened.list_splits() == []
    with pytest.raises(TuningError, match=r"flat\.h5: expected a split train.*split_cache"):
        read_scene(Scene(scene.folder / "train", cache))


# ---- the source beside the cache


def mend(column: str, value: str) -> Callable[[int, Line], Line]:
    """Return a function that gives each fourth image of a class another value."""

    def change(number: int, line: Line) -> Line:
        return line | {column: value} if number % 4 == 0 and line["split"] == "train" else line

    return change


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", "rows", r"other labels for 8 of 60 rows, such as .* \('rows', in the cache "),
        (
            "split",
            "val",
            r"other splits for 12 of 60 rows, such as .* \('val', in the cache 'train",
        ),
        (
            "group",
            "one",
            r"other groups for 12 of 60 rows, such as .* \('one', in the cache none\)",
        ),
    ],
)
def test_data_of_a_source_that_was_changed_after_the_extraction_is_refused(
    scene: Scene, tmp_path: Path, weak_head: Head, column: str, value: str, message: str
) -> None:
    table = tabulate(scene, tmp_path)
    write_table(scene, table.folder, mend(column, value))
    with pytest.raises(
        TuningError, match=rf"photos\.csv: expected what .*table\.h5 says .*, got {message}.* Bring"
    ):
        read_scene(table, head=weak_head)
    extract_scene(table.folder, table.cache, backbone="lenet5")
    assert len(read_scene(table, head=fit_head(table.cache, C=1.0)).train) > 20


def test_data_of_a_source_that_differs_twice_says_both(
    scene: Scene, tmp_path: Path, weak_head: Head
) -> None:
    table = tabulate(scene, tmp_path)
    write_table(scene, table.folder, lambda n, line: mend("label", "x")(n, line) | {"group": "g"})
    with pytest.raises(TuningError, match=r"other labels for 12 .*, and other groups for 60 of"):
        read_scene(table, head=weak_head)


def test_data_of_a_source_without_labels_takes_those_of_the_cache(
    scene: Scene, tmp_path: Path
) -> None:
    table = tabulate(scene, tmp_path)
    silence = {"label": "", "split": ""}
    write_table(scene, table.folder, lambda _, line: line | silence)
    data = read_scene(table, head=fit_head(table.cache, C=1.0))
    assert (len(data.train), len(data.test)) == (42, 18)


def test_data_of_recorded_splits_uses_them_and_says_that_the_source_has_others(
    scene: Scene, tmp_path: Path
) -> None:
    table = tabulate(scene, tmp_path)
    split_cache(table.cache, val=0.5, seed=1, overwrite=True)
    head = fit_head(table.cache, C=1.0)
    with pytest.warns(FeatxWarning, match=r"\d+ recorded splits are used, not what .* says$"):
        data = read_scene(table, head=head)
    assert (len(data.train), len(data.test)) == (30, 30)


def test_data_says_how_many_rows_cannot_be_right(
    scene: Scene, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    def rename(number: int, line: Line) -> Line:
        return line | {"label": "new"} if line["split"] == "val" and number < 2 else line

    table = tabulate(scene, tmp_path, rename)
    head = fit_head(table.cache, C=1.0)
    recwarn.clear()
    read_scene(table, head=head)
    evaluate(head, table.cache)
    ours, theirs = (str(one.message) for one in recwarn)
    told = "6 rows have a class that the head does not know (new), and count as wrong"
    assert ours == theirs == told


@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_data_without_a_class_in_common_is_refused(scene: Scene, tmp_path: Path) -> None:
    def rename(number: int, line: Line) -> Line:
        return line | {"label": "new"} if line["split"] == "val" else line

    table = tabulate(scene, tmp_path, rename)
    head = fit_head(table.cache, C=1.0)
    with pytest.raises(HeadError, match=r"split val: expected classes among .* got new\."):
        read_scene(table, head=head)


@pytest.mark.parametrize("class_weight", [None, "balanced", {"rows": 3.0}], ids=str)
def test_data_has_the_class_weights_of_the_head(scene: Scene, class_weight: Any) -> None:
    data = read_scene(scene, head=fit_head(scene.cache, C=1.0, class_weight=class_weight))
    codes = data.examples.y[data.examples.train]
    if class_weight is None:
        assert data.class_weights == ()
    else:
        weights = np.array(data.class_weights)
        assert weights[codes].mean() == pytest.approx(1)
        by_class = weights * np.bincount(codes)
        assert by_class[2] / by_class[0] == pytest.approx(
            1 if class_weight == "balanced" else 3, rel=0.1
        )
