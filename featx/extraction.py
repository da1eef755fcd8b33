"""Images and a backbone make a cache: the only place that fills one."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.backbones.load import Backbone
from featx.backbones.network import PENULTIMATE
from featx.cache.format import EmbeddingInfo
from featx.cache.writer import CacheWriter, check_dtype
from featx.embedding import RunOptions, build_fingerprint, iter_embedded, resolve_backbone
from featx.engines.torch_engine import TorchEngine
from featx.errors import CacheError, SourceError
from featx.files import check_destination
from featx.images.manifest import Manifest
from featx.images.sources import PathLike, read_manifest
from featx.rows import Failure

VERSIONED = ("featx", "torch", "torchvision", "pillow", "numpy", "h5py")
"""Packages whose versions provenance names."""


@dataclass(frozen=True)
class ExtractionReport:
    """What an extraction did.

    Attributes
    ----------
    path : Path
        The cache.
    n_rows, n_failures, n_ignored : int
        Rows with an embedding, rows without, and files that were no images.
    dims : dict of str to int
        Length of each embedding, by its name in the cache.
    elapsed_s : float
        From the first image to the closed file, in seconds.
    """

    path: Path
    n_rows: int
    n_failures: int
    n_ignored: int
    dims: dict[str, int]
    elapsed_s: float


def extract(
    source: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    backbone: str | Backbone = "resnet50",
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    device: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    progress: bool | None = None,
) -> ExtractionReport:
    """Embed every image of a source into one HDF5 file.

    Parameters
    ----------
    source : path or sequence of paths
        A folder (class folders, split folders above them, or flat), a CSV or Parquet table with a
        column ``path``, or one or several plain tars.
    output : path
        The cache to make. It appears there whole, when all is done.
    backbone : str or Backbone
        A name from `featx.list_backbones`, or what `featx.load_backbone` returned; the next three
        are for a name only.
    weights : str
        ``DEFAULT``, a name, a file, or ``random:SEED``.
    layers : sequence of str
        ``"penultimate"`` or nodes of the network, several read in one pass.
    preprocess : str, optional
        Named weights whose preprocessing is taken.
    dtype : {"float32", "float16"}
        Of the stored vectors.
    overwrite : bool
        Replace a cache that is there.
    device, batch_size, workers, progress
        As in `featx.embedding.RunOptions`.

    Returns
    -------
    ExtractionReport

    Raises
    ------
    SourceError
        If the source is missing, empty or damaged, or not one of its images could be embedded.
    CacheError
        If the output cannot be written.
    BackboneError, WeightsError, DeviceError
        If the network cannot be had or run.
    """
    output = Path(output)
    options = RunOptions(device, batch_size, workers, progress)
    check_dtype(dtype)
    check_destination(output, overwrite=overwrite, error=CacheError)
    manifest = read_manifest(source)
    given = [source] if isinstance(source, str | os.PathLike) else source
    if output.exists() and any(output.samefile(path) for path in given):
        raise CacheError(f"{output}: expected a file of its own, got the source. Name another.")
    backbone = resolve_backbone(backbone, weights=weights, layers=layers, preprocess=preprocess)
    engine = options.build_engine(backbone)
    infos = {
        layer: EmbeddingInfo(
            name_embedding(backbone.name, layer),
            build_fingerprint(backbone, layer, precision=engine.precision),
            build_provenance(backbone, engine, manifest),
        )
        for layer in backbone.layers
    }
    start = time.perf_counter()
    failures: tuple[Failure, ...] = ()
    with CacheWriter(
        output, list(infos.values()), source=manifest.source, dtype=dtype, overwrite=overwrite
    ) as writer:
        for batch in iter_embedded(manifest.entries, backbone, engine, options):
            writer.append_failures(batch.failures)
            if batch.rows:
                vectors = {infos[layer].name: values for layer, values in batch.vectors.items()}
                writer.append(batch.rows, vectors)
            failures = batch.failures or failures
        if writer.n_rows == 0:
            raise SourceError(
                f"{manifest.source}: expected images, got {len(manifest)} that all failed, such "
                f"as {failures[0].path}: {failures[0].reason}. Look at the files."
            )
        writer.commit()
    return ExtractionReport(
        path=output,
        n_rows=writer.n_rows,
        n_failures=writer.n_failures,
        n_ignored=manifest.n_ignored,
        dims={info.name: info.fingerprint.dim for info in infos.values()},
        elapsed_s=time.perf_counter() - start,
    )


def name_embedding(backbone: str, layer: str) -> str:
    """Name an embedding in a cache: ``backbone``, or ``backbone@layer``."""
    return backbone if layer == PENULTIMATE else f"{backbone}@{layer}"


def build_provenance(backbone: Backbone, engine: TorchEngine, manifest: Manifest) -> dict[str, Any]:
    """Say who computed an embedding, how and when: everything that is not its fingerprint."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "engine": engine.name,
        "device": engine.device,
        "batch_size": engine.batch_size,
        "weights": backbone.weights,
        "preprocess_from": backbone.preprocess_from,
        "source": os.fspath(manifest.source),
        "time": now.isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONED},
    }
