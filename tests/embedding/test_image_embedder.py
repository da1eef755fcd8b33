"""ImageEmbedder as a transformer of scikit-learn, and the vectors that it keeps on disk."""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import estimator_checks

import featx
from featx.cache.joined import open_cache
from featx.core.errors import DecodeError, FeatxError, FeatxWarning, SourceError
from featx.embedding import image_embedder, kept
from featx.embedding.image_embedder import ImageEmbedder
from featx.embedding.session import EmbeddingSession


@pytest.fixture
def paths(photos: Path) -> list[str]:
    return [str(path) for path in sorted(photos.glob("*/*/*.jpg"))]


@pytest.fixture
def labels(paths: list[str]) -> list[str]:
    return [Path(path).parent.name for path in paths]


@pytest.fixture
def make(tiny_backbone: str, tmp_path: Path) -> Callable[..., ImageEmbedder]:
    """An embedder whose folder is empty; a factory."""

    def make(**options: Any) -> ImageEmbedder:
        return ImageEmbedder(tiny_backbone, **{"cache_dir": tmp_path / "kept"} | options)

    return make


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of images of each run of the network."""
    counts: list[int] = []
    iter_batches = EmbeddingSession.iter_batches

    def count(self: Any, entries: Any) -> Iterator[Any]:
        counts.append(len(entries))
        return iter_batches(self, entries)

    monkeypatch.setattr(EmbeddingSession, "iter_batches", count)
    return counts


def list_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("kept/*/*.h5"))


def test_transform_equals_embed_and_embeds_each_image_once(
    make: Any, paths: list[str], embedded: list[int], tiny_backbone: str, tmp_path: Path
) -> None:
    expected = featx.embed(paths, backbone=tiny_backbone, progress=False)
    embedded.clear()
    X = make().fit(paths).transform([*paths, *paths[:2]])
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, np.concatenate([expected, expected[:2]]))
    np.testing.assert_array_equal(make().transform(paths[::-1]), expected[::-1])
    assert embedded == [12]
    with open_cache(list_files(tmp_path)) as cache:
        assert cache.get_info().provenance.n_embedded == 12
        assert sorted(cache.ids) == sorted(cache.digests)
        assert cache.sizes.tolist() == [[48, 36]] * 12


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda paths: [Image.open(path) for path in paths], id="pillow"),
        pytest.param(lambda paths: [Path(path).read_bytes() for path in paths], id="bytes"),
        pytest.param(
            lambda paths: np.stack([np.asarray(Image.open(path)) for path in paths]), id="array"
        ),
        pytest.param(lambda paths: [np.asarray(Image.open(path)) for path in paths], id="arrays"),
        pytest.param(lambda paths: np.array(paths), id="texts"),
        pytest.param(lambda paths: np.array(paths, object)[:, None], id="column"),
        pytest.param(tuple, id="tuple"),
        pytest.param(iter, id="iterator"),
    ],
)
def test_images_come_in_many_forms(
    make: Any, paths: list[str], read: Any, embedded: list[int]
) -> None:
    expected = make(cache_dir=False).transform(paths)
    for _ in range(2):
        np.testing.assert_array_equal(make().transform(read(paths)), expected)
    assert embedded == [12, 12]


def test_images_come_as_a_column_of_a_data_frame(make: Any, paths: list[str]) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame({"path": paths}, index=range(20, 32))
    expected = make().transform(paths)
    np.testing.assert_array_equal(make().transform(frame), expected)
    np.testing.assert_array_equal(make().transform(frame.path), expected)
    named = make().set_output(transform="pandas").transform(frame)
    assert named.index.tolist() == [*range(20, 32)]
    assert [*named.columns[:2]] == ["tests-tiny_0", "tests-tiny_1"]


@pytest.mark.parametrize(
    ("X", "got"),
    [
        pytest.param("a.jpg", "one image", id="path"),
        pytest.param(np.zeros((3, 4, 3), np.uint8), r"an array of shape \(3, 4, 3\)", id="image"),
        pytest.param(None, "NoneType", id="none"),
        pytest.param(np.full((2, 2), "a.jpg"), r"paths of shape \(2, 2\)", id="paths"),
        pytest.param(["photos"], "a path of several images", id="folder"),
    ],
)
def test_what_is_not_one_image_per_row_is_refused(
    make: Any, photos: Path, monkeypatch: pytest.MonkeyPatch, X: Any, got: str
) -> None:
    monkeypatch.chdir(photos.parent)
    with pytest.raises(SourceError, match=rf"X: expected a sequence of images.*got {got}"):
        make().transform(X)


def test_pipeline_embeds_each_image_once_over_all_folds(
    make: Any, paths: list[str], labels: list[str], embedded: list[int]
) -> None:
    model = Pipeline([("embed", make()), ("classify", LogisticRegression())])
    scores = cross_val_score(model, paths, labels, cv=3)
    assert scores.mean() == 1.0
    search = GridSearchCV(model, {"classify__C": [0.1, 1.0]}, cv=3).fit(paths, labels)
    assert search.predict(paths).tolist() == labels
    assert sum(embedded) == 12


def test_output_has_names_in_set_output(make: Any, paths: list[str]) -> None:
    pytest.importorskip("pandas", reason="needs pandas")
    model = make_pipeline(make()).set_output(transform="pandas")
    frame = model.fit_transform(paths)
    assert frame.shape == (12, 8)
    assert [*frame.columns] == make().get_feature_names_out().tolist()
    assert frame.columns[7] == "tests-tiny_7"


def test_estimator_is_cloned_and_pickled_without_a_network(make: Any, paths: list[str]) -> None:
    embedder = make(batch_size=4).fit(paths)
    embedder.transform(paths[:1])
    assert clone(embedder).get_params() == embedder.get_params()
    assert len(pickle.dumps(embedder)) < 1000
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(again.transform(paths), embedder.transform(paths))


def test_nothing_is_loaded_before_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_embedder, "load_named", lambda *_, **__: pytest.fail("loads"))
    ImageEmbedder("no-such-backbone", weights="nowhere.pth").fit(["a.jpg"])


FLOATS = "X is a table of floats, not images"
NOT_APPLIED = {
    "check_fit_score_takes_y": FLOATS,
    "check_estimators_dtypes": FLOATS,
    "check_pipeline_consistency": FLOATS,
    "check_estimator_sparse_tag": "fit reads no images, so it refuses none",
    "check_estimators_pickle": FLOATS,
    "check_f_contiguous_array_estimator": FLOATS,
    "check_transformer_general": FLOATS,
    "check_transformers_unfitted_stateless": FLOATS,
    "check_methods_sample_order_invariance": FLOATS,
    "check_methods_subset_invariance": FLOATS,
    "check_dict_unchanged": FLOATS,
    "check_fit_idempotent": FLOATS,
}
"""Checks of scikit-learn that cannot pass, and why. The tests above do the same with images."""


class Tabular(ImageEmbedder):
    """An embedder that says it takes tables: of others, scikit-learn checks nothing."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API")
@estimator_checks.parametrize_with_checks(
    [Tabular("mini", cache_dir=False)], expected_failed_checks=lambda _: NOT_APPLIED
)  # type: ignore[untyped-decorator]
def test_checks_of_scikit_learn_pass_as_far_as_they_apply(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
def test_processes_share_what_is_kept(paths: list[str], labels: list[str], tmp_path: Path) -> None:
    model = make_pipeline(ImageEmbedder("mini", cache_dir=tmp_path / "kept"), LogisticRegression())
    assert cross_val_score(model, paths, labels, cv=3, n_jobs=2).mean() == 1.0
    with open_cache(list_files(tmp_path)[0]) as cache:
        assert set(cache.ids) <= set(cache.digests)


def test_image_that_fails_is_named_and_the_others_are_kept(
    make: Any, paths: list[str], tmp_path: Path, embedded: list[int]
) -> None:
    (tmp_path / "broken.jpg").write_text("no image")
    embedder = make(batch_size=4)
    with pytest.raises(DecodeError, match=r"broken\.jpg: expected an image that can be embedded"):
        embedder.transform([*paths, str(tmp_path / "broken.jpg")])
    with pytest.raises(DecodeError, match=r"gone\.jpg"):
        embedder.transform([str(tmp_path / "gone.jpg")])
    embedder.transform(paths)
    assert embedded == [13, 1]


def test_files_of_other_options_are_apart(make: Any, paths: list[str], tmp_path: Path) -> None:
    make().transform(paths)
    make(layer="conv").transform(paths)
    assert len({file.parent for file in list_files(tmp_path)}) == 2


def test_small_files_are_joined(
    make: Any, paths: list[str], tmp_path: Path, embedded: list[int], monkeypatch: Any
) -> None:
    monkeypatch.setattr(kept, "MAX_FILES", 3)
    monkeypatch.setattr(image_embedder, "KEPT_ROWS", 2)
    X = make(batch_size=4).transform(paths)
    assert len(list_files(tmp_path)) < 3
    np.testing.assert_array_equal(make().transform(paths), X)
    assert embedded == [12]


def test_threads_that_write_at_once_lose_nothing(
    make: Any, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MAX_FILES", 2)
    expected = make(cache_dir=False).transform(paths)
    with ThreadPoolExecutor(4) as pool:
        shares = [[paths[(start + step) % 12] for step in range(4)] for start in range(12)]
        found = [*pool.map(lambda share: make().transform(share), shares)]
    for start, X in enumerate(found):
        rows = [(start + step) % 12 for step in range(4)]
        np.testing.assert_array_equal(X, expected[rows])
    np.testing.assert_array_equal(make().transform(paths), expected)


def test_file_that_another_call_has_joined_meanwhile_is_passed_over(
    make: Any, paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make().transform(paths[:2])
    (file,) = list_files(tmp_path)
    gone = file.with_name("gone.h5")
    monkeypatch.setattr(kept.KeptVectors, "_list_files", lambda _: [gone, file])
    make().transform(paths)  # without a note that nothing was kept
    assert len(list_files(tmp_path)) == 2


def test_damaged_file_is_computed_again(
    make: Any, paths: list[str], tmp_path: Path, embedded: list[int]
) -> None:
    X = make().transform(paths)
    (file,) = list_files(tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.warns(FeatxWarning, match="kept embeddings are damaged"):
        np.testing.assert_array_equal(make().transform(paths), X)
    assert embedded == [12, 12]
    assert len(list_files(tmp_path)) == 1


def test_folder_that_cannot_be_written_is_a_note(
    make: Any, paths: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(FeatxWarning, match="not kept for the next call"):
        X = make(cache_dir=tmp_path / "file" / "kept").transform(paths)
    assert X.shape == (12, 8)


def test_default_folder_is_in_the_store(tiny_backbone: str, paths: list[str], store: Path) -> None:
    ImageEmbedder(tiny_backbone).transform(paths[:1])
    assert len([*store.glob("embedder/tests-tiny-*/*.h5")]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"decode": "slow"}, "decode: expected exact or fast", id="decode"),
        pytest.param({"batch_size": 0}, "batch_size: expected", id="batch"),
        pytest.param({"cache_dir": True}, "cache_dir: expected a folder", id="folder"),
        pytest.param({"backbone": 3}, "backbone: expected a name, got int", id="backbone"),
    ],
)
def test_options_out_of_range_are_refused(
    make: Any, paths: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeatxError, match=message):
        make().set_params(**options).fit(paths).transform(paths)
