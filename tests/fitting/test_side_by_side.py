"""Heads on several embeddings of a cache: from the fit to the scores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import featx
from featx.core.errors import CacheError, FeatxWarning, FingerprintError, HeadError
from featx.core.typing import Array, Split
from featx.fitting.alike import find_alike
from featx.fitting.compare import compare_heads, compare_kinds
from featx.fitting.evaluate import evaluate
from featx.fitting.evaluate_target import evaluate_target
from featx.fitting.fit import fit_head
from featx.fitting.inputs import opened_cache
from featx.fitting.label import label_cache
from featx.heads.classifier import HeadClassifier
from featx.heads.kinds import list_kinds
from featx.heads.load import load_head
from featx.prediction.predict import predict
from tests.builders import (
    MakeCache,
    MakeInfo,
    build_rows,
    mark_learnt,
    rewrite_values,
    write_vectors,
)

BOTH = ["mini", "tiny"]


@pytest.fixture
def halves(tmp_path: Path, make_info: MakeInfo) -> Path:
    """Return a cache of four classes: each embedding tells two pairs of them apart."""
    rng = np.random.default_rng(0)
    codes = np.arange(180) % 4
    infos = [make_info("tiny", dim=24), make_info("mini", dim=16)]
    vectors = {
        "tiny": rng.normal(size=(180, 24)) + np.outer(codes % 2, np.tile([2, -2], 12)),
        "mini": 100 * (rng.normal(size=(180, 16)) + np.outer(codes // 2, np.tile([2, -2], 8))),
    }
    labels = [f"class {code}" for code in codes]
    splits: list[Split | None] = ["train" if row < 120 else "val" for row in range(180)]
    vectors = {name: values.astype(np.float32) for name, values in vectors.items()}
    return write_vectors(tmp_path / "halves.h5", infos, build_rows(labels, splits), vectors)


def read_both(path: Path, split: str) -> tuple[Array, Array]:
    with opened_cache(path) as cache:
        rows = cache.select_rows(split, labelled=True)
        parts = [cache.read_vectors(name, rows) for name in BOTH]
        return np.hstack(parts), cache.labels[rows]


@pytest.mark.parametrize("kind", list_kinds())
def test_fit_head_on_both_knows_what_neither_knows_alone(
    halves: Path, kind: str, tmp_path: Path
) -> None:
    head = fit_head(halves, tmp_path / "both.joblib", embedding=BOTH, kind=kind)
    assert [one.name for one in head.embeddings] == BOTH
    assert head.dims == (16, 24)
    assert evaluate(head, halves).accuracy > 0.95
    X, y = read_both(halves, "val")
    alone = fit_head(halves, embedding="tiny", kind=kind)
    assert (alone.predict(X[:, 16:]) == y).mean() < 0.8
    loaded = load_head(tmp_path / "both.joblib")
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))
    assert (loaded.predict(X) == y).mean() > 0.95


def test_fit_head_equals_the_classifier_on_columns_side_by_side(halves: Path) -> None:
    X, y = read_both(halves, "train")
    head = fit_head(halves, embedding=BOTH, C=0.1)
    plain = HeadClassifier(C=0.1).fit(X, y)
    np.testing.assert_array_equal(head.score_classes(X), plain.pipeline_.decision_function(X))


def test_fit_head_with_l2_scales_each_embedding_of_its_own(halves: Path, tmp_path: Path) -> None:
    head = fit_head(halves, tmp_path / "l2.joblib", embedding=BOTH, scaling="l2", kind="logreg")
    X, _ = read_both(halves, "val")
    longer = X * np.repeat([7, 1], [16, 24])  # as if all vectors of one network were longer
    for one in (head, load_head(tmp_path / "l2.joblib")):
        np.testing.assert_allclose(one.predict_proba(longer), one.predict_proba(X), atol=1e-6)
    matrix = joblib.load(tmp_path / "l2.joblib")["matrix"]
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in np.split(X, [16], 1)]
    rows = np.hstack(parts)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = rows @ matrix["weight"].T + matrix["bias"]
    np.testing.assert_allclose(scores, head.score_classes(X), atol=1e-4)


def test_fit_head_twice_is_the_same_file(halves: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        fit_head(halves, tmp_path / name, embedding=BOTH)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("embedding", [["tiny", "tiny"], [], ["tiny", "other"]], ids=str)
def test_fit_head_on_other_names_is_refused(halves: Path, embedding: list[str]) -> None:
    with pytest.raises(CacheError, match=r"expected (names of embeddings, each once|one of its)"):
        fit_head(halves, embedding=embedding)


def test_rows_that_lack_one_embedding_are_left_out_and_counted(halves: Path) -> None:
    rewrite_values(halves, "embeddings/mini/present", 0, slice(0, 7))
    rewrite_values(halves, "embeddings/tiny/present", 0, slice(5, 9))
    rewrite_values(halves, "embeddings/mini/present", 0, slice(130, 133))
    told = r"of {} rows, {} without a vector in one of the embeddings mini and tiny were left out$"
    with pytest.warns(FeatxWarning, match=r"split train: " + told.format(120, 9)):
        head = fit_head(halves, embedding=BOTH)
    assert head.fitted_on.n_rows == 111
    with pytest.warns(FeatxWarning, match=r"split val: " + told.format(60, 3)):
        assert evaluate(head, halves).n_rows == 57
    with pytest.warns(FeatxWarning, match=r"^no prediction for 12 of 180 images, "):
        found = predict(head, halves)
    lacking = [one.error for one in found if one.error]
    assert lacking[0] == "no mini vector: run featx extract --backbone mini"
    assert lacking[8] == "no tiny vector: run featx extract --backbone tiny"


def test_rows_that_one_network_has_learnt_from_are_learnt(halves: Path) -> None:
    mark_learnt(halves, slice(0, 10), "tiny")
    mark_learnt(halves, slice(8, 20), "mini")
    with pytest.warns(FeatxWarning, match=r"20 of 120 rows were learnt from by the network"):
        head = fit_head(halves, embedding=BOTH)
    assert head.fitted_on.n_learnt == 20
    assert head.cross_validation is not None
    assert head.cross_validation.scores.n_rows == 100


def test_evaluate_is_refused_for_another_fingerprint_of_the_second(
    halves: Path, make_cache: MakeCache, make_info: MakeInfo
) -> None:
    head = fit_head(halves, embedding=BOTH, C=1.0)
    infos = [make_info("mini", dim=16), make_info("tiny", dim=24, weights_digest="cd" * 32)]
    other = make_cache("other.h5", infos=infos)
    message = (
        rf"other\.h5, embedding tiny: expected weights {'ab' * 6}, as the head was fitted on "
        rf"\(tiny\), got weights {'cd' * 6}\."
    )
    for use in (evaluate, predict):
        with pytest.raises(FingerprintError, match=message):
            use(head, other)


def test_evaluate_finds_the_embeddings_by_fingerprint_and_not_by_name(
    halves: Path, tmp_path: Path, make_info: MakeInfo
) -> None:
    head = fit_head(halves, embedding=BOTH, C=1.0)
    with opened_cache(halves) as cache:
        rows = build_rows(list(cache.labels), ["val"] * 180)
        vectors = {"a": cache.read_vectors("tiny"), "b": cache.read_vectors("mini")}
    infos = [
        replace(make_info("tiny", dim=24), name="a"),
        replace(make_info("mini", dim=16), name="b"),
    ]
    other = write_vectors(tmp_path / "named.h5", infos, rows, vectors)
    with pytest.warns(FeatxWarning, match=r"120 of 180 rows were used to fit the head"):
        assert evaluate(head, other).accuracy > 0.95


def test_rows_are_alike_if_they_are_in_both(halves: Path) -> None:
    with opened_cache(halves) as cache:
        vectors = {name: cache.read_vectors(name) for name in BOTH}
    rewrite_values(halves, "embeddings/tiny/vectors", vectors["tiny"][:8], slice(120, 128))
    rows, references = np.arange(120, 128), np.arange(120)
    with opened_cache(halves) as cache:
        assert find_alike(cache, "tiny", rows, references).all()
        assert find_alike(cache, BOTH, rows, references).sum() < 4
    rewrite_values(halves, "embeddings/mini/vectors", vectors["mini"][:8], slice(120, 128))
    head = fit_head(halves, embedding=BOTH, C=1.0)
    with pytest.warns(FeatxWarning, match=r"8 of 60 rows look like rows that were fitted on"):
        assert evaluate(head, halves).n_alike == 8


def test_from_a_head_of_both_fits_both_again(halves: Path) -> None:
    before = fit_head(halves, embedding=BOTH, scaling="l2")
    with pytest.warns(FeatxWarning, match=r"^since the former head of 120 rows: 60 rows more"):
        after = fit_head(halves, previous=before, split="all")
    assert after.embeddings == before.embeddings
    assert after.options == before.options


def test_compare_heads_reads_what_each_head_reads(halves: Path) -> None:
    heads = {"both": fit_head(halves, embedding=BOTH), "tiny": fit_head(halves, embedding="tiny")}
    found = compare_heads(heads, halves)
    assert found.winner == "both"
    assert found.candidates[0].accuracy == evaluate(heads["both"], halves).accuracy


def test_compare_kinds_reads_joined_names_side_by_side(halves: Path) -> None:
    names = ["tiny", "mini", "mini+tiny"]
    found = compare_kinds(halves, kinds=["logreg"], embeddings=names, progress=False)
    assert found.winner == "logreg, mini+tiny"
    assert {one.name for one in found.candidates[:-1]} == {f"logreg, {name}" for name in names}
    (alone, _) = compare_kinds(
        halves, kinds=["logreg"], embeddings=["mini+tiny"], progress=False
    ).candidates
    assert alone.name == "logreg"
    with pytest.raises(CacheError, match=r"got 'tiny' and 'tiny'"):
        compare_kinds(halves, kinds=["logreg"], embeddings=["tiny+tiny"], progress=False)


def test_compare_kinds_reads_a_sequence_of_names_side_by_side(halves: Path) -> None:
    options: Any = {"kinds": ["logreg"], "progress": False}
    found = compare_kinds(halves, embeddings=[["mini", "tiny"], "tiny"], **options)
    joined = compare_kinds(halves, embeddings=["mini+tiny", "tiny"], **options)
    assert [replace(one, seconds=None) for one in found.candidates] == [
        replace(one, seconds=None) for one in joined.candidates
    ]
    for wrong, told in (([[]], "got none"), ([["tiny", "tiny"]], "got 'tiny' and 'tiny'")):
        with pytest.raises(CacheError, match=told):
            compare_kinds(halves, embeddings=wrong, **options)


@pytest.mark.parametrize("scaling", ["l2", "none"])
def test_compare_kinds_scales_as_fit_head_does(halves: Path, scaling: Any) -> None:
    (found, _) = compare_kinds(
        halves, kinds=["logreg"], embeddings=[BOTH], scaling=scaling, progress=False
    ).candidates
    head = fit_head(halves, embedding=BOTH, scaling=scaling, cv=5)
    assert head.cross_validation is not None
    assert found.accuracy == head.cross_validation.scores.accuracy
    assert found.params == head.params
    with pytest.raises(HeadError, match=r"^scaling: expected "):
        compare_kinds(halves, scaling="l3")  # type: ignore[arg-type]


def test_compare_kinds_takes_a_name_with_a_plus_as_one_name(
    make_cache: MakeCache, make_info: MakeInfo
) -> None:
    infos = [make_info("a"), make_info("b"), make_info("a+b", dim=3)]
    path = make_cache("plus.h5", infos=infos)
    found = compare_kinds(path, kinds=["nearest-mean"], progress=False)
    assert len(found.candidates) == 4
    rewrite_values(path, "embeddings/b/present", 0, slice(0, 5))
    found = compare_kinds(path, kinds=["nearest-mean"], embeddings="a+b", progress=False)
    assert (found.n_rows, found.n_left_out) == (40, 0)  # nothing is read of b
    with pytest.warns(FeatxWarning, match=r"5 without a vector in one of the embeddings"):
        found = compare_kinds(
            path, kinds=["nearest-mean"], embeddings=["a+b", ["a", "b"]], progress=False
        )
    assert {one.name for one in found.candidates[:-1]} == {
        "nearest-mean, a+b",
        "nearest-mean, a + b",
    }


@pytest.mark.parametrize("how", ["labels", "number", "compare"])
def test_memory_is_checked_for_the_sum_of_the_lengths(
    halves: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with opened_cache(halves) as cache:
        ids = cache.ids.tolist()
    label_cache(halves, {key: f"{number}.5" for number, key in enumerate(ids)}, field="size")
    monkeypatch.setattr("featx.fitting.memory.TOLD_BYTES", 1)
    monkeypatch.setattr("featx.fitting.memory.find_free_memory", lambda: 1)
    calls: dict[str, Callable[[], object]] = {
        "labels": lambda: fit_head(halves, embedding=BOTH),
        "number": lambda: fit_head(halves, embedding=BOTH, target="size"),
        "compare": lambda: compare_kinds(
            halves, kinds=["logreg"], embeddings=["mini", "mini+tiny"]
        ),
    }
    with pytest.raises(HeadError, match=r"free memory to fit on 120 rows of 40 numbers"):
        calls[how]()


def test_several_classes_and_numbers_are_learnt_from_both(halves: Path, tmp_path: Path) -> None:
    with opened_cache(halves) as cache:
        ids = cache.ids.tolist()
        numbers = cache.read_vectors("tiny")[:, 0] + cache.read_vectors("mini")[:, 0] / 100
    label_cache(halves, dict(zip(ids, map(str, numbers.tolist()), strict=True)), field="size")
    rewrite_values(halves, "embeddings/mini/present", 0, slice(0, 7))
    told = r"7 without a vector in one of the embeddings mini and tiny were left out$"
    with pytest.warns(FeatxWarning, match=told):
        fit_head(halves, tmp_path / "size.joblib", target="size", embedding=BOTH)
    scores = evaluate_target(load_head(tmp_path / "size.joblib"), halves)
    assert isinstance(scores, featx.NumberScores)
    assert scores.r2 is not None
    assert scores.r2 > 0.99


def test_fine_tuning_refuses_a_head_of_both(
    halves: Path, tmp_path: Path, photos: Path, photos_cache: Path
) -> None:
    both = fit_head(halves, embedding=BOTH, C=1.0)
    with pytest.raises(HeadError, match=r"a head that reads one embedding, got one that reads "):
        featx.fine_tune(
            photos, photos_cache, tmp_path / "t.safetensors", head=both, unfreeze=1, progress=False
        )
