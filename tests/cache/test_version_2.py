"""The format is finished: the file that lies here is read by every later featx."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache.check import verify_cache
from featx.cache.reader import Cache
from featx.cache.writer import rewrite_cache
from featx.core.rows import Failure, Row
from featx.fitting.label import label_cache
from featx.fitting.split import split_cache
from tests.builders import build_info, mark_learnt, write_vectors

pytestmark = pytest.mark.filterwarnings("ignore::featx.core.errors.FeatxWarning")

FIXTURE = Path(__file__).parent / "fixtures" / "version-2.h5"

DIGESTS = ["0a" * 32, "0b" * 32, "0c" * 32, "0d" * 32, ""]
IDS = ["ants/a.jpg", "ants/ü.png", "bees/x y.jpg", "bees/z.jpg", "imported"]
LABELS = ["ants", "ants", "bees", "bees", None]
SIZES = [[640, 480], [1, 2**31 - 1], [3, 4], [5, 6], [0, 0]]
VECTORS = np.arange(15, dtype=np.float32).reshape(5, 3) / 7
SOME = np.array([[1, 2], [3, 4], [np.nan, np.nan], [5, 6], [7, 8]], np.float16)
FAILURES = [
    Failure(id="e.jpg", path="/p/e.jpg", digest="", stage="read", reason="No such file"),
    Failure(
        id=IDS[2],
        path="/p/2",
        digest=DIGESTS[2],
        stage="embed",
        reason="output is not finite: ∞",
        embedding="tiny@conv",
        n_bytes=2**40,
        mtime_ns=2**60,
    ),
]


def write_fixture(path: Path) -> None:
    """Write what the fixture holds: so it was made, at the commit that brought it."""
    rows = [
        Row(
            id=IDS[i],
            path=f"/p/{i}",
            label=LABELS[i],
            group="burst" if i < 2 else None,
            digest=DIGESTS[i],
            width=SIZES[i][0],
            height=SIZES[i][1],
            n_bytes=2**33 + i,
            mtime_ns=i - 1,
        )
        for i in range(5)
    ]
    infos = [build_info(dim=3), build_info("tiny@conv", 2, layer="conv")]
    vectors: dict[str, Any] = {"tiny": VECTORS, "tiny@conv": SOME}
    write_vectors(path, infos, rows, vectors, failures=FAILURES, source="photos/")
    with rewrite_cache(path) as file:  # the second embedding as float16
        del file["embeddings/tiny@conv/vectors"]
        file["embeddings/tiny@conv"].create_dataset("vectors", data=SOME, chunks=(2, 2))
        file["user/notes"] = ["mine", "ä"]
    mark_learnt(path, [0, 3])
    split_cache(path, val=0.5, seed=1)
    label_cache(path, {IDS[3]: "wasps", IDS[4]: "ants"}, author="ada")
    label_cache(path, {IDS[4]: "bees"}, kind="unsure", author="bob")


@pytest.fixture(params=["fixture", "fresh"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the fixture, or the same content as this featx writes it."""
    if request.param == "fixture":
        shutil.copyfile(FIXTURE, tmp_path / "c.h5")
    else:
        write_fixture(tmp_path / "c.h5")
    return tmp_path / "c.h5"


def test_version_2_is_read_in_all_its_parts(path: Path) -> None:
    assert verify_cache(path).problems == ()
    with Cache(path) as cache:
        assert cache.source == "photos/"
        assert cache.ids.tolist() == IDS
        assert cache.paths.tolist() == [f"/p/{i}" for i in range(5)]
        assert cache.labels.tolist() == ["ants", "ants", "bees", "wasps", "bees"]
        assert cache.splits.tolist() == ["train", "train", "val", "train", ""]
        assert cache.groups.tolist() == ["burst", "burst", "", "", ""]
        assert cache.digests.tolist() == DIGESTS
        assert cache.sizes.tolist() == SIZES
        assert cache.read_column("n_bytes").tolist() == [2**33 + i for i in range(5)]
        assert cache.read_column("mtime_ns").tolist() == [-1, 0, 1, 2, 3]
        assert list(cache.failures) == FAILURES
        assert cache.embeddings == ("tiny", "tiny@conv")
        assert cache.get_info("tiny") == build_info(dim=3)
        np.testing.assert_array_equal(cache.read_vectors("tiny"), VECTORS)
        assert cache.read_vectors("tiny").dtype == np.float32
        assert cache.read_present("tiny@conv").tolist() == [True, True, False, True, True]
        found = cache.take_vectors("tiny@conv", np.arange(5))
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, SOME)
        assert cache.read_learnt("tiny").tolist() == [True, False, False, True, False]
        said = [(one.id, one.value, one.kind, one.author) for one in cache.read_history()]
    assert said[1:] == [
        (IDS[3], "wasps", "sure", "ada"),
        (IDS[4], "ants", "sure", "ada"),
        (IDS[4], "bees", "unsure", "bob"),
    ]


def test_version_2_is_changed_and_keeps_the_rest(path: Path) -> None:
    label_cache(path, {IDS[0]: "beetles"}, author="cleo")
    assert verify_cache(path).problems == ()
    with Cache(path) as cache:
        assert cache.labels.tolist() == ["beetles", "ants", "bees", "wasps", "bees"]
        np.testing.assert_array_equal(cache.read_vectors("tiny"), VECTORS)
    with h5py.File(path) as file:
        assert file["user/notes"].asstr()[:].tolist() == ["mine", "ä"]
