"""A cache in embedding-atlas: a table with thumbnails and a map, and a server on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.analytics.projection import project_rows
from featx.analytics.row_images import RowImages
from featx.analytics.search import Searcher
from featx.cache.joined import open_cache
from featx.cache.selection import Selection
from featx.core.errors import FeatxError, require
from featx.core.files import check_destination, replacing
from featx.core.notes import note
from featx.core.progress import open_bar, show_progress
from featx.core.text import count_noun
from featx.core.typing import CachePaths, PathLike

if TYPE_CHECKING:
    from PIL.Image import Image

MODULE = "embedding_atlas"
HOST = "127.0.0.1"
"""Address of the server: no other machine reaches it."""

BLOCK_ROWS = 1024
"""Rows of the table that are held in memory at a time."""

MAX_COMPARED = 20_000
"""Number of rows up to which each row's nearest neighbours are in the table: it takes their square
in time."""

N_NEIGHBOURS = 10
SIDE = 128
"""Longer side of a thumbnail in pixels."""


@dataclass(frozen=True, kw_only=True)
class AtlasTable:
    """A table that embedding-atlas shows.

    Attributes
    ----------
    path : str
        Path of the Parquet file.
    n_rows : int
        Number of rows in the table.
    n_without_vector : int
        Number of rows of the cache that have no vector, and are not in the table.
    n_without_image : int
        Number of rows in the table whose image could not be found again or read.
    has_neighbours : bool
        Whether the table has the nearest neighbours of each row: not of more than 20,000 rows, nor
        if a vector is zero.

    See Also
    --------
    featx.explore : Write such a table, and show it.
    """

    path: str
    n_rows: int
    n_without_vector: int
    n_without_image: int
    has_neighbours: bool

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)


def write_atlas(
    cache: CachePaths,
    path: PathLike,
    *,
    source: PathLike | Sequence[PathLike] | None = None,
    embedding: str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> AtlasTable:
    """Write a Parquet table with thumbnails, a map and labels, for embedding-atlas.

    Parameters
    ----------
    cache : path or sequence of paths
        The cache, as `featx.open_cache` takes it.
    path : path
        Destination, a ``.parquet`` file.
    source : path or sequence of paths, optional
        Source of the images. Default: the source that the cache names.
    embedding : str, optional
        Name of the embedding. Default: the only one.
    overwrite : bool
        True to replace an existing file.
    progress : bool, optional
        True to show progress, False to hide it. Default: on a terminal.

    Returns
    -------
    AtlasTable
        Numbers of rows. Columns of the file: those of `featx.Selection.to_arrow`, ``image`` (a
        JPEG), ``x`` and ``y`` (the two first principal components), and for at most 20,000 rows
        ``neighbors`` (the ten nearest rows) and ``typicality`` (their mean cosine).

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    CacheError, FeatxError
        If the cache cannot be read or the file not be written.
    """
    arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    path = Path(path)
    check_destination(path, overwrite=overwrite, error=FeatxError)
    with open_cache(cache) as opened, show_progress(progress):
        chosen = opened.select(embedding=opened.get_info(embedding).name)
        points = project_rows(chosen)
        images = RowImages(opened, source)
        searcher = None
        if 1 < len(chosen) <= MAX_COMPARED:
            searcher = Searcher(opened, embedding=chosen.embedding)
            searcher = None if len(searcher.find_unusable()) else searcher
        with (
            replacing(path, error=FeatxError, overwrite=overwrite) as draft,
            contextlib.ExitStack() as stack,
            open_bar("thumbnails", len(chosen), unit="rows", show=progress) as bar,
        ):
            writer, start = None, 0
            for block in chosen.iter_blocks(BLOCK_ROWS):
                table = _build_block(arrow, block, images, searcher)
                here = points[start : start + len(block)]
                table = table.append_column("x", arrow.array(here[:, 0]))
                table = table.append_column("y", arrow.array(here[:, 1]))
                if writer is None:
                    writer = stack.enter_context(parquet.ParquetWriter(draft, table.schema))
                writer.write_table(table)
                start += len(block)
                bar.update(len(block))
        return AtlasTable(
            path=str(path),
            n_rows=len(chosen),
            n_without_vector=len(opened) - len(chosen),
            n_without_image=len(images.missing),
            has_neighbours=searcher is not None,
        )


def _build_block(arrow: Any, block: Selection, images: RowImages, searcher: Searcher | None) -> Any:
    """Build a part of the table: columns of the rows, thumbnails and neighbours."""
    table = block.to_arrow(embedding=False).drop_columns(["path", "digest", "mtime_ns"])
    for number, field in enumerate(table.schema):
        if arrow.types.is_dictionary(field.type):  # each part has dictionaries of its own
            column = table[field.name].cast(arrow.string())
            table = table.set_column(number, field.name, column)
    cells = [
        None if image is None else {"bytes": encode_thumbnail(image)}
        for _, image in images.decode(block.rows, side=SIDE)
    ]
    image_type = arrow.struct([("bytes", arrow.binary())])
    table = table.add_column(0, "image", arrow.array(cells, image_type))
    if searcher is None:
        return table
    found = searcher.find(block.X, top=N_NEIGHBOURS, exclude=block.rows)
    numbers, is_found = np.searchsorted(searcher.rows, found.rows), found.rows >= 0
    lines = [
        {"ids": numbers[row][mask].tolist(), "distances": (1 - found.scores[row][mask]).tolist()}
        for row, mask in enumerate(is_found)
    ]
    kind = arrow.struct(
        [("ids", arrow.list_(arrow.int64())), ("distances", arrow.list_(arrow.float64()))]
    )
    typicality = np.nanmean(found.scores, axis=1)
    table = table.append_column("typicality", arrow.array(typicality))
    return table.append_column("neighbors", arrow.array(lines, kind))


def encode_thumbnail(image: Image) -> bytes:
    """Write an image as JPEG.

    Parameters
    ----------
    image : PIL.Image.Image
        RGB image.
    """
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def build_command(table: AtlasTable, port: int) -> list[str]:
    """Build the command that shows a table on this machine only.

    DuckDB runs in the server: in the browser, it would load a part of itself from the internet.

    Parameters
    ----------
    table : AtlasTable
        The table.
    port : int
        Number of the port.
    """
    # A rank of one's own, or the server computes one with PyTorch before it starts.
    neighbours = ["--neighbors", "neighbors", "--pagerank", "typicality"]
    return [
        *(sys.executable, "-m", f"{MODULE}.cli", table.path),
        *("--image", "image", "--x", "x", "--y", "y"),
        *(neighbours if table.has_neighbours else []),
        *("--host", HOST, "--port", str(port), "--no-auto-port"),
        *("--duckdb", "server", "--no-mcp"),
    ]


def explore(
    cache: CachePaths,
    *,
    source: PathLike | Sequence[PathLike] | None = None,
    embedding: str | None = None,
    output: PathLike | None = None,
    overwrite: bool = False,
    port: int = 5055,
    progress: bool | None = None,
) -> AtlasTable:
    """Show a cache in embedding-atlas: a map of its images, with search and filters.

    The call ends when the server ends, by Ctrl-C. Nothing leaves this machine.

    Parameters
    ----------
    cache : path or sequence of paths
        The cache, as `featx.open_cache` takes it.
    source : path or sequence of paths, optional
        Source of the images. Default: the source that the cache names.
    embedding : str, optional
        Name of the embedding. Default: the only one.
    output : path, optional
        Path of the Parquet table, which is kept. Default: a temporary file.
    overwrite : bool
        True to replace an existing table.
    port : int
        Number of the port on this machine: the page is at ``http://127.0.0.1:5055``.
    progress : bool, optional
        True to show progress, False to hide it. Default: on a terminal.

    Returns
    -------
    AtlasTable
        Numbers of the rows that were shown.

    Raises
    ------
    MissingExtraError
        If embedding-atlas or pyarrow is not installed.
    CacheError
        If the cache cannot be read.
    FeatxError
        If the table cannot be written, or the server does not start.

    See Also
    --------
    featx.montage : Sheets and pages of images, without a server.
    """
    if importlib.util.find_spec(MODULE) is None:
        require(MODULE, "explore")
    with _choose_path(output) as path:
        table = write_atlas(
            cache, path, source=source, embedding=embedding, overwrite=overwrite, progress=progress
        )
        if table.n_without_vector:
            note(f"left out: {count_noun(table.n_without_vector, 'row')} without a vector")
        if table.n_without_image:
            rows = count_noun(table.n_without_image, "row")
            note(f"{rows} without an image, which was not found again or not read")
        serve(table, port)
        return table


@contextlib.contextmanager
def _choose_path(output: PathLike | None) -> Iterator[PathLike]:
    if output is not None:
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="featx-") as folder:
        yield Path(folder) / "atlas.parquet"


def serve(table: AtlasTable, port: int) -> None:
    """Run the server until Ctrl-C.

    Parameters
    ----------
    table : AtlasTable
        The table.
    port : int
        Number of the port.

    Raises
    ------
    FeatxError
        If the server ends with an error.
    """
    process = subprocess.Popen(build_command(table, port))
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = 0
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code:
        raise FeatxError(
            subject="embedding-atlas",
            expected="a server that runs until Ctrl-C",
            got=f"exit code {code}",
            remedy="Read its message above; if the port is taken, pass port=5056.",
        )
