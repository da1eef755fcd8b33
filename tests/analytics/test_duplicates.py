"""Planted copies are found among generated images and real ones, and nothing else is."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from featx.analytics.duplicates import NearDuplicates, find_near_duplicates
from featx.analytics.exact_copies import MAX_ALL
from featx.analytics.row_images import RowImages
from featx.cache.joined import open_cache
from featx.core.rows import Row
from featx.extraction.extract import extract
from tests.builders import build_info, write_vectors

KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "same pixels": lambda image: image,
    "larger": lambda image: image.resize((image.width * 4 // 3, image.height * 4 // 3)),
    "smaller": lambda image: image.resize((image.width * 3 // 4, image.height * 3 // 4)),
    "cropped": lambda image: image.crop((6, 2, image.width - 1, image.height - 4)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
}


def draw(seed: int) -> Image.Image:
    """Draw an image of blurred noise, 80 x 60 pixels."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3))
    return ImageEnhance.Contrast(image).enhance(5)


def embed(image: Image.Image) -> Any:
    """Embed an image as a coarse thumbnail, without its brightness and mirrored like itself."""
    small = np.asarray(image.convert("L").resize((8, 6)), np.float64)
    folded = small + small[:, ::-1]
    return ((folded - folded.mean()) / folded.std()).ravel().astype(np.float32)


def write_folder(tmp_path: Path, n_plain: int, splits: tuple[str, str] = ("train", "val")) -> Path:
    """Write images and one copy of each kind, and their cache; the copies are held out."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows, vectors = [], []

    def add(name: str, image: Image.Image, split: Any, quality: int) -> None:
        path = folder / f"{name}.jpg"
        image.save(path, quality=quality)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        row = Row(
            id=path.name,
            path=str(path),
            label="a",
            split=split,
            group=None,
            digest=digest,
            width=image.width,
            height=image.height,
        )
        rows.append(row)
        vectors.append(embed(image))

    for number in range(n_plain):
        add(f"{number:03}", draw(number), splits[0], 95)
    for number, (kind, change) in enumerate(KINDS.items()):
        add(f"{number:03} {kind}", change(draw(number)), splits[1], 70)
    (folder / "zz.jpg").write_bytes((folder / "000.jpg").read_bytes())
    rows.append(replace(rows[0], id="zz.jpg", path=str(folder / "zz.jpg")))
    vectors.append(vectors[0])
    info = build_info(dim=48)
    return write_vectors(tmp_path / "cache.h5", [info], rows, {info.name: np.stack(vectors)})


def find(path: Path, *, with_images: bool = True) -> NearDuplicates:
    with open_cache(path) as cache:
        images = RowImages(cache, path.parent / "photos") if with_images else None
        return find_near_duplicates(cache, images=images, progress=False)


def list_pairs(found: NearDuplicates) -> set[tuple[str, str]]:
    return set(zip(found.a_id.tolist(), found.b_id.tolist(), strict=True))


def list_planted() -> set[tuple[str, str]]:
    return {(f"{number:03}.jpg", f"{number:03} {kind}.jpg") for number, kind in enumerate(KINDS)}


def test_planted_copies_are_found_and_nothing_else(tmp_path: Path) -> None:
    found = find(write_folder(tmp_path, 60))
    assert list_pairs(found) == {*list_planted(), ("000.jpg", "zz.jpg")}
    assert found.exact.tolist() == [True] + [False] * len(KINDS)
    assert found.score[0] == 1.0
    assert (np.diff(found.score) <= 0).all()
    assert found.score[1:].max() <= 0.99
    assert (found.n_rows, found.n_without_vector, found.n_missing) == (67, 0, 0)
    assert found.expected_wrong is not None
    assert found.expected_wrong <= 0.03


def test_clusters_keep_the_held_out_image_and_leaks_are_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path, 60)
    found = find(path)
    assert found.crosses.tolist() == [found.b_id[i] != "zz.jpg" for i in range(len(found))]
    with open_cache(path) as cache:
        ids, splits = cache.ids, cache.splits
    clusters = [ids[cluster].tolist() for cluster in found.clusters]
    assert clusters[0] == ["000 same pixels.jpg", "000.jpg", "zz.jpg"]
    assert len(clusters) == len(KINDS)
    assert all(splits[np.flatnonzero(ids == one[0])[0]] == "val" for one in clusters)
    assert (~found.kept).sum() == len(KINDS) + 1


def test_without_images_embeddings_alone_are_less_sure(tmp_path: Path) -> None:
    path = write_folder(tmp_path, 60)
    found, alone = find(path), find(path, with_images=False)
    assert np.isnan(alone.agreement[~alone.exact]).all()
    assert (alone.n_decoded, alone.n_missing) == (0, 0)
    assert ("000.jpg", "zz.jpg") in list_pairs(alone)
    assert alone.score[1:].max() < found.score[1:].max() + 1e-9


def test_images_that_are_gone_are_counted_and_go_by_their_embeddings(tmp_path: Path) -> None:
    path = write_folder(tmp_path, 60)
    (path.parent / "photos/001.jpg").unlink()
    found = find(path)
    assert found.n_missing == 1
    at = found.a_id.tolist().index("001.jpg") if "001.jpg" in found.a_id else None
    assert at is None or np.isnan(found.agreement[at])


def test_pairs_as_json_have_ids_and_scores(tmp_path: Path) -> None:
    told = find(write_folder(tmp_path, 30)).to_dict()
    assert told["near_duplicates"][0] == {
        "a": "000.jpg",
        "b": "zz.jpg",
        "score": 1.0,
        "exact": True,
        "crosses_splits": False,
        "cosine": 1.0,
        "agreement": 1.0,
    }
    assert told["n_rows"] == 37


@pytest.mark.parametrize("n_rows", [1, 2, 3, 12])
def test_few_unlike_rows_have_no_duplicates(n_rows: int, make_cache: Any) -> None:
    path = make_cache(n_train=n_rows, n_val=0)
    with open_cache(path) as cache:
        found = find_near_duplicates(cache, images=None, progress=False)
    assert len(found) == 0
    assert found.clusters == []
    assert found.expected_wrong is None


@pytest.mark.parametrize("n_same", [MAX_ALL, MAX_ALL + 5])
def test_many_copies_of_one_file_are_counted_and_listed_with_the_first_in_a_split(
    tmp_path: Path, n_same: int
) -> None:
    n_rows = n_same + 6
    splits: list[Any] = [None, "train", "val"]
    rows = [
        Row(
            id=f"{i:03}",
            path=f"/{i}",
            label=None,
            split=splits[i % 3],
            group=None,
            digest=f"{i if i < 6 else 99:016x}" * 4,
            width=4,
            height=4,
        )
        for i in range(n_rows)
    ]
    info = build_info(dim=8)
    vectors = np.random.default_rng(0).normal(size=(n_rows, 8)).astype(np.float32)
    path = write_vectors(tmp_path / "many.h5", [info], rows, {info.name: vectors})
    with open_cache(path) as cache:
        found = find_near_duplicates(cache, images=None, progress=False)
        held = cache.splits
    same = [(i, j) for j in range(6, n_rows) for i in range(6, j)]
    parted = [(i, j) for i, j in same if "" not in (held[i], held[j]) and held[i] != held[j]]
    assert found.n_exact == found.n_pairs == len(same)
    assert found.count_parted(held) == len(parted)
    listed = [*zip(found.a.tolist(), found.b.tolist(), strict=True)]
    assert len({*listed}) == len(listed) == found.exact.sum()
    if n_same <= MAX_ALL:
        assert {*listed} == {*same}
    else:
        firsts = {6, 7, 8}
        assert {*listed} == {(i, j) for i, j in same if firsts & {i, j}}
    assert {row for pair in parted for row in pair} == {
        *found.a[found.crosses].tolist(),
        *found.b[found.crosses].tolist(),
    }
    assert found.cluster.max() == 0
    assert (found.cluster == 0).sum() == n_same


@pytest.mark.slow
def test_copies_of_real_images_are_found(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    planted = set()
    paths = sorted((shared / "data/hymenoptera_data/train").rglob("*.jpg"))[::4]
    for number, path in enumerate(paths):
        image = Image.open(path).convert("RGB")
        image.save(folder / f"{number:03}.png")
        if number < 2 * len(KINDS):
            kind = list(KINDS)[number % len(KINDS)]
            KINDS[kind](image).save(folder / f"{number:03} {kind}.jpg", quality=60)
            planted.add((f"{number:03} {kind}.jpg", f"{number:03}.png"))
    cache_path = tmp_path / "photos.h5"
    weights = shared / "weights/mobilenet_v2-imagenet-backbone.pth"
    extract(folder, cache_path, backbone="mobilenet_v2", weights=str(weights), progress=False)
    with open_cache(cache_path) as cache:
        found = find_near_duplicates(cache, images=RowImages(cache), progress=False)
    assert {tuple(sorted(pair)) for pair in list_pairs(found)} == planted
