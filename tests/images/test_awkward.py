"""A folder of awkward files is extracted to its end, each with the outcome that it has to have."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.row_tables import list_rows
from featx.core.rows import Failure, Row
from featx.core.typing import Float32Array
from featx.images.decode import decode_image

from . import awkward

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX names, links, pipes")

SCRIPT = Path(__file__).with_name("awkward.py")


CASES = list(awkward.CASES.values())
FILES = [case for case in CASES if case.outcome != "passed over"]


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """What the extraction of the corpus left behind."""

    folder: Path
    refused: set[str]
    report: dict[str, Any]
    rows: dict[str, Row]
    failures: list[Failure]
    vectors: dict[str, Float32Array]
    alone: dict[str, Float32Array]
    stderr: str

    def skip_refused(self, case: awkward.Case) -> None:
        if case.name in self.refused:
            pytest.skip("this file system refuses the name or the kind of file")

    def list_expected(self, outcome: str) -> list[awkward.Case]:
        return [case for case in CASES if case.outcome == outcome and case.name not in self.refused]


def read_vectors(path: Path) -> dict[str, Float32Array]:
    with open_cache(path) as cache:
        return dict(zip(cache.ids.tolist(), cache.read_vectors(), strict=True))


@pytest.fixture(scope="module")
def extracted() -> Iterator[Extracted]:
    """The corpus, extracted once, in a process that may not read everything."""
    # Not below pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="featx-awkward-") as name:
        folder = Path(name)
        refused = awkward.write_corpus(folder)
        done = subprocess.run(
            [sys.executable, SCRIPT, folder],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,  # for a pipe that is waited for
        )
        assert done.returncode == 0, done.stderr
        with open_cache(folder / "all.h5") as cache:
            rows, failures = (
                {row.id: row for row in list_rows(cache.read_rows())},
                list(cache.failures),
            )
            assert len(rows) == len(cache)
        yield Extracted(
            folder=folder / "all",
            refused=refused,
            report=json.loads(done.stdout),
            rows=rows,
            failures=failures,
            vectors=read_vectors(folder / "all.h5"),
            alone=read_vectors(folder / "good.h5"),
            stderr=done.stderr,
        )


def test_corpus_has_enough_cases() -> None:
    assert len(CASES) >= 60
    assert len(awkward.GOOD) >= 12


def name_case(case: awkward.Case) -> str:
    return ascii(case.id)[1:-1][:60]


@pytest.mark.parametrize("case", FILES, ids=name_case)
def test_extract_awkward_file_has_its_outcome(extracted: Extracted, case: awkward.Case) -> None:
    extracted.skip_refused(case)
    row = extracted.rows.get(case.id)
    failures = [failure for failure in extracted.failures if failure.id == case.id]
    got = "embedded" if row else "failed" if failures else "ignored"
    assert (got, failures) == (case.outcome, failures)
    if case.outcome == "embedded":
        assert not failures
        assert row is not None
        assert (row.width, row.height) == case.size
        assert np.isfinite(extracted.vectors[case.id]).all()
    if case.outcome == "failed":
        (failure,) = failures
        assert failure.stage == case.stage
        assert re.search(case.reason, failure.reason), failure.reason


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.outcome == "passed over"], ids=name_case
)
def test_extract_hidden_or_no_file_is_passed_over(extracted: Extracted, case: awkward.Case) -> None:
    extracted.skip_refused(case)
    assert os.path.lexists(extracted.folder / case.name)
    found = [*extracted.rows, *(failure.id for failure in extracted.failures)]
    assert [id for id in found if id.startswith(case.name)] == []


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("case", [case for case in CASES if case.pixels is not None], ids=name_case)
def test_decode_awkward_file_gives_the_colours_of_the_rules(
    extracted: Extracted, case: awkward.Case
) -> None:
    extracted.skip_refused(case)
    image = decode_image((extracted.folder / case.name).read_bytes())
    pixels = np.asarray(image).astype(int)
    expected = np.broadcast_to(np.asarray(case.pixels, int), pixels.shape)
    assert np.abs(pixels - expected).max() <= case.tolerance


def test_extract_good_neighbours_are_byte_identical_to_them_alone(extracted: Extracted) -> None:
    assert set(extracted.alone) == set(awkward.GOOD)
    for name, vector in extracted.alone.items():
        assert extracted.vectors[name].tobytes() == vector.tobytes(), name
    assert len({vector.tobytes() for vector in extracted.alone.values()}) == len(awkward.GOOD)


def test_extract_good_neighbours_lie_among_awkward_files(extracted: Extracted) -> None:
    ids = sorted([*extracted.rows, *(failure.id for failure in extracted.failures)])
    places = [ids.index(name) for name in sorted(awkward.GOOD)]
    assert np.count_nonzero(np.diff(places) > 1) >= len(places) // 2


def test_extract_failures_say_where_why_and_of_which_content(extracted: Extracted) -> None:
    for failure in extracted.failures:
        assert failure.stage in ("read", "decode", "preprocess", "embed"), failure
        assert failure.reason, failure
        assert failure.reason.isprintable(), failure
        assert " at 0x" not in failure.reason, failure
        if failure.stage == "read":
            assert failure.digest == "", failure
            continue
        (name,) = [case.name for case in CASES if case.id == failure.id]
        data = (extracted.folder / name).read_bytes()
        assert failure.digest == hashlib.sha256(data).hexdigest()


def test_extract_ids_and_paths_are_one_printable_line_and_unique(extracted: Extracted) -> None:
    found: list[Row | Failure] = [*extracted.rows.values(), *extracted.failures]
    ids = [one.id for one in found]
    assert len(ids) == len(set(ids))
    paths = [one.path for one in found]
    assert len(paths) == len(set(paths))
    for text in (*ids, *paths):
        assert text.isprintable(), text
        assert text.encode("utf-8").decode("utf-8") == text


def test_extract_rows_failures_and_ignored_add_up_to_the_files(extracted: Extracted) -> None:
    counts = {outcome: len(extracted.list_expected(outcome)) for outcome in ("failed", "ignored")}
    counts["embedded"] = len(extracted.list_expected("embedded")) + len(awkward.GOOD)
    report = extracted.report
    assert report["n_rows"] == len(extracted.rows) == counts["embedded"]
    assert report["n_failures"] == len(extracted.failures) == counts["failed"]
    assert report["n_ignored"] == counts["ignored"]


def test_extract_same_content_is_embedded_once(extracted: Extracted) -> None:
    digests = {row.digest for row in extracted.rows.values()}
    assert extracted.report["n_embedded"] == len(digests) < len(extracted.rows)
    by_digest: dict[str, set[bytes]] = {}
    for id, row in extracted.rows.items():
        by_digest.setdefault(row.digest, set()).add(extracted.vectors[id].tobytes())
    assert {len(found) for found in by_digest.values()} == {1}


def test_extract_orientations_are_embedded_alike(extracted: Extracted) -> None:
    names = [f"orientation-{number}.jpg" for number in range(1, 9)]
    vectors = np.stack([extracted.vectors[name] for name in names])
    spread = np.stack(list(extracted.alone.values())).std(axis=0).max()
    assert np.abs(vectors - vectors[0]).max() < spread / 2


def test_extract_awkward_folder_prints_nothing(extracted: Extracted) -> None:
    # Neither Python's warnings, nor Pillow's loggers, nor libtiff, which writes there itself, in C.
    assert [line for line in extracted.stderr.splitlines() if "featx" not in line.lower()] == []
