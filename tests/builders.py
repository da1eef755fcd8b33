"""Objects that many tests need, built from a few words: fingerprints, infos, rows, caches."""

import hashlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache import sealing
from featx.cache.format import EmbeddingInfo
from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.cache.sealing import seal_file
from featx.cache.tables import read_column, write_column
from featx.cache.user_block import Seal
from featx.cache.writer import Column, write_cache
from featx.core.columns import Categories, Texts
from featx.core.drafts import name_draft
from featx.core.fingerprint import Fingerprint
from featx.core.learnt import shorten_digests
from featx.core.provenance import Origin, Provenance
from featx.core.row_tables import ROW_KINDS, build_table, list_rows
from featx.core.rows import Failure, Row
from featx.core.typing import Array, Split, VectorDtype

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
NEEDS_OPENVINO = pytest.mark.skipif(not HAS_OPENVINO, reason="needs OpenVINO")

MakeCache = Callable[..., Path]
"""Type of the fixture `make_cache`."""

MakeInfo = Callable[..., EmbeddingInfo]
"""Type of the fixture `make_info`."""


def build_fingerprint(backbone: str = "tiny", dim: int = 8, **changes: Any) -> Fingerprint:
    """Build a fingerprint of a network that there is none of."""
    fields: dict[str, Any] = {
        "backbone": backbone,
        "weights_digest": "ab" * 32,
        "layer": "penultimate",
        "preprocess": {"kind": "none/1"},
        "decoder": "none/1",
        "precision": "fp32",
        "dim": dim,
    }
    return Fingerprint(**(fields | changes))


def build_provenance(**changes: Any) -> Provenance:
    """Build the history of an embedding that no engine computed."""
    fields: dict[str, Any] = {
        "origin": Origin(weights="random:0"),
        "engine": "none",
        "device": "cpu",
        "batch_size": 8,
        "source": "generated",
        "time": "2026-01-01T00:00:00+00:00",
        "host": "nowhere",
        "platform": "none",
        "versions": {},
    }
    return Provenance(**(fields | changes))


def build_info(name: str = "tiny", dim: int = 8, **changes: Any) -> EmbeddingInfo:
    """Build what stands beside an embedding; changes are fields of its fingerprint."""
    fields: dict[str, Any] = {"backbone": name, "dim": dim} | changes
    return EmbeddingInfo(name, build_fingerprint(**fields), build_provenance())


def build_rows(
    labels: Sequence[str | None],
    splits: Sequence[Split | None],
    groups: Sequence[str | None] | None = None,
) -> list[Row]:
    """Build one row per label; digests are all different."""
    groups = groups if groups is not None else [None] * len(labels)
    return [
        Row(
            id=f"{label or 'none'}/{i:03}.jpg",
            path=f"/photos/{label or 'none'}/{i:03}.jpg",
            label=label,
            split=split,
            group=group,
            digest=f"{i + 1:016x}" * 4,
            width=40,
            height=30,
        )
        for i, (label, split, group) in enumerate(zip(labels, splits, groups, strict=True))
    ]


def build_column(info: EmbeddingInfo, vectors: Array, dtype: VectorDtype = "float32") -> Column:
    """Build an embedding to write from vectors ``(n_rows, dim)``, NaN for a row without one."""
    return Column(info=info, dtype=dtype, read=lambda rows: np.asarray(vectors[rows]))


def write_rows(path: Path, rows: Sequence[Row], columns: Sequence[Column], **options: Any) -> str:
    """Write a cache of rows that are listed, with the other arguments of `write_cache`."""
    return write_cache(path, build_table(rows, ROW_KINDS), columns, **options)


def read_rows(cache: Cache) -> list[Row]:
    """List all rows of a cache."""
    return list_rows(cache.read_rows())


def write_vectors(
    path: Path,
    infos: Sequence[EmbeddingInfo],
    rows: Sequence[Row],
    vectors: Mapping[str, Array],
    *,
    dtype: VectorDtype = "float32",
    failures: Sequence[Failure] = (),
    source: str = "generated",
) -> Path:
    """Write a cache with such vectors, NaN for a row without one; return the path."""
    columns = [build_column(info, vectors[info.name], dtype) for info in infos]
    write_rows(path, rows, columns, failures=failures, source=source)
    return path


def write_noisy(path: Path) -> Path:
    """Write a cache of 200 rows: every twentieth label is wrong, and the last row has no vector.

    Its classes, ants and bees, are far apart. Row 7 is like none of them; rows 0 and 1 are copies
    of one file in two classes and two splits.
    """
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 2
    X = rng.normal(size=(200, 32)) + 8 * np.eye(2, 32)[codes]
    X[7] = 15 * np.eye(32)[5]
    X[1], X[199] = X[0], np.nan
    codes[5::20] = 1 - codes[5::20]
    rows = build_rows(
        [("ants", "bees")[code] for code in codes],
        ["val" if number % 4 == 0 else "train" for number in range(200)],
    )
    rows[1] = replace(rows[1], digest=rows[0].digest)
    return write_vectors(path, [build_info(dim=32)], rows, {"tiny": X.astype(np.float32)})


def mark_learnt(path: Path, rows: Any, name: str = "tiny") -> Path:
    """Write into a cache that the network of an embedding has learnt from rows of it."""
    with open_cache(path) as cache:
        learnt = shorten_digests(cache.digests[rows])
    with editing(path) as file:
        file[f"embeddings/{name}"].create_dataset("learnt", data=learnt)
    return path


def rewrite_values(path: Path, name: str, values: Any, rows: slice = slice(None)) -> None:
    """Change values of a cache that is there, such as ``labels/label``, and seal it again."""
    with editing(path) as file:
        if isinstance(file[name], h5py.Dataset):
            file[name][rows] = values
            return
        parent, column = name.rsplit("/", 1)
        old = read_column(file[parent], column)
        assert isinstance(old, Texts | Categories)
        texts = old.to_array()
        texts[rows] = values
        write_column(file[parent], column, type(old).from_list(texts))


@contextmanager
def editing(path: Path) -> Iterator[h5py.File]:
    """Change a file by plain h5py, and seal it again whatever it holds."""
    with h5py.File(path, "r+") as file:
        yield file
    seal_file(path)


def split_seal(path: Path) -> tuple[bytes, bytes]:
    """Read the user block and the HDF5 data of a sealed file."""
    content = path.read_bytes()
    start = int.from_bytes(content[16:24], "little")
    return content[:start], content[start:]


def seal_data(path: Path, data: bytes, user_block: int = 4096) -> Path:
    """Write HDF5 data, as `split_seal` read them or changed in any way, with a sound seal."""
    size = sealing.BLOCK_SIZE
    blocks = (data[start : start + size] for start in range(0, len(data), size))
    table = b"".join(hashlib.sha256(block).digest() for block in blocks)
    seal = Seal(start=user_block, n_bytes=len(data), block_size=size, table=table)
    path.write_bytes(seal.to_bytes() + data)
    return path


def leave_draft(path: Path) -> Path:
    """Write a draft of a file, as a process that was killed leaves it."""
    place, pid, _, digits = name_draft(path).name.split(".")[-2].split("-")
    draft = path.with_name(f".{path.name}.{place}-{pid}-000000-{digits}.partial")
    draft.write_bytes(b"half a file")
    return draft
