"""One cache, and the same rows in several caches: words of the tests of joining and merging."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featx.cache.reader import Cache
from featx.core.parts import Part
from featx.core.rows import Failure, Row
from featx.core.typing import Array
from tests.builders import build_info, build_rows, write_vectors

N_ROWS = 60
LABELS = [("ants", "bees", None)[i % 3] for i in range(N_ROWS)]
SPLITS: Any = [("train", "val", "train", None)[i % 4] for i in range(N_ROWS)]
GROUPS = [f"group{i // 7}" if i % 5 else None for i in range(N_ROWS)]
INFO = build_info(dim=4)


def build_vectors(rows: Sequence[Row]) -> Array:
    """Build vectors that tell rows apart; every eleventh row has none."""
    numbers = np.array([int(row.id[-7:-4]) for row in rows], np.float32)
    vectors = numbers[:, None] + np.arange(4, dtype=np.float32) / 8
    vectors[numbers % 11 == 10] = np.nan
    return vectors


def build_failures(rows: Sequence[Row]) -> list[Failure]:
    """Build a line of the ledger for each row without a vector."""
    return [
        Failure(
            id=row.id, path=row.path, digest=row.digest, stage="embed", reason="x", embedding="tiny"
        )
        for row in rows
        if int(row.id[-7:-4]) % 11 == 10
    ]


def write_rows(path: Path, rows: Sequence[Row], **options: Any) -> Path:
    """Write a cache of some of the rows; every row has a vector in a second embedding."""
    other = build_info("other", dim=2)
    numbers = np.array([int(row.id[-7:-4]) for row in rows], np.float32)
    vectors = {"tiny": build_vectors(rows), "other": np.stack([numbers, -numbers], axis=1)}
    failures = build_failures(rows)
    return write_vectors(path, [INFO, other], rows, vectors, failures=failures, **options)


def write_parts(folder: Path, count: int) -> tuple[Path, list[Path]]:
    """Write all rows to one cache, in the order of the parts, and each part to one of its own."""
    rows = build_rows(LABELS, SPLITS, GROUPS)
    folder.mkdir()
    parts = [Part(number, count) for number in range(1, count + 1)]
    shares = [[row for row in rows if part.has(row.id)] for part in parts]
    paths = [
        write_rows(folder / part.file_name, share)
        for part, share in zip(parts, shares, strict=True)
    ]
    whole = write_rows(folder.parent / "whole.h5", [row for share in shares for row in share])
    return whole, paths


def read_all(cache: Cache) -> dict[str, Any]:
    """Read everything in a cache but who made it."""
    columns = ("ids", "paths", "labels", "splits", "groups", "digests", "sizes")
    return {
        **{name: getattr(cache, name).tolist() for name in columns},
        "failures": cache.failures,
        "vectors": [
            cache.take_vectors(name, np.arange(len(cache))).tobytes() for name in cache.embeddings
        ],
        "present": [cache.read_present(name).tolist() for name in cache.embeddings],
        "n_rows": len(cache),
        "splits_listed": cache.list_splits(),
        "selected": cache.select_rows("train", labelled=True, embedding="tiny").tolist(),
        "dtypes": [cache.get_dtype(name) for name in cache.embeddings],
        "fingerprints": [cache.get_info(name).fingerprint for name in cache.embeddings],
        "source": cache.source,
    }
