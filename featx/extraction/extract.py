"""Images and a backbone make a cache: the only place that fills one."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from featx.backbones.backbone import PENULTIMATE, Backbone
from featx.cache.format import DTYPES, EmbeddingInfo, check_dtype, check_names
from featx.cache.lock import CacheLock
from featx.cache.reader import open_cache
from featx.cache.shards import Shards, find_batch_size
from featx.cache.writer import write_cache
from featx.core.errors import CacheError, SourceError
from featx.core.files import check_destination, name_work, remove_partials
from featx.core.provenance import Provenance
from featx.core.typing import Decode
from featx.embedding.embed import build_fingerprint, resolve_backbone
from featx.embedding.loop import RunOptions
from featx.embedding.timings import Timings
from featx.engines.engine import Engine
from featx.extraction.fill import Filler, count_allowed, find_todo
from featx.extraction.inventory import (
    Known,
    assemble,
    check_fingerprints,
    check_same_source,
    choose_dtype,
    differs,
    list_infos,
    settle_storage,
)
from featx.images.decode import check_decode
from featx.images.manifest import Manifest, escape_name
from featx.images.sources.read import PathLike, read_manifest

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
        Rows in the cache, images of the source that lack an embedding, and files that were no
        images.
    dims : dict of str to int
        Length of each embedding that was asked for, by its name in the cache.
    n_embedded : int
        Contents that went through the network in this run.
    n_resumed : int
        Contents that an unfinished run before it had done.
    n_damaged : int
        Shards of that run that were damaged since, and done again.
    n_removed : int
        Rows whose file the source has no more; kept, or dropped by `prune`.
    is_changed : bool
        Whether the cache was written; otherwise it was up to date.
    taken_from : str or None
        The dead process whose lock was taken over.
    elapsed_s : float
        From the first image to the closed file, in seconds.
    timings : Timings
        Where the time went, and what would help.
    """

    path: Path
    n_rows: int
    n_failures: int
    n_ignored: int
    dims: dict[str, int]
    n_embedded: int
    n_resumed: int
    n_damaged: int
    n_removed: int
    is_changed: bool
    taken_from: str | None
    elapsed_s: float
    timings: Timings


def extract(
    source: PathLike | Sequence[PathLike] | Manifest,
    output: PathLike,
    *,
    backbone: str | Backbone = "resnet50",
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
    size: int | None = None,
    name: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    prune: bool = False,
    rehash: bool = False,
    retry_failed: bool = False,
    max_failures: int | str = "5%",
    break_lock: bool = False,
    shard_s: float = 30.0,
    precision: str = "fp32",
    decode: Decode = "exact",
    engine: str = "auto",
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    progress: bool | None = None,
) -> ExtractionReport:
    """Embed every image of a source into one HDF5 file, or bring one that is there up to date.

    Only content that the cache does not hold goes through the network. A run that was interrupted,
    in whatever way, goes on where it was when it is called again.

    Parameters
    ----------
    source : path, sequence of paths or Manifest
        A folder (class folders, split folders above them, or flat), a CSV or Parquet table with a
        column ``path``, or one or several plain tars; or the rows of one, chosen by the caller.
    output : path
        The cache. What is there stays as it is until the new one is whole. Unfinished work lies
        beside it, in ``OUTPUT.partial``.
    backbone : str or Backbone
        A name from `featx.list_backbones`, or what `featx.load_backbone` returned; the next four
        are for a name only. Another backbone than the cache has is put beside it.
    weights : str
        ``DEFAULT``, a name, a file, or ``random:SEED``.
    layers : sequence of str
        ``"penultimate"`` or nodes of the network, several read in one pass.
    preprocess : str, optional
        Named weights whose preprocessing is taken.
    size : int, optional
        Resize pictures to so many pixels per side, in place of the preprocessing's own size.
    name : str, optional
        What the embedding is called in the cache. Default: the backbone's name.
    dtype : {"float32", "float16"}, optional
        Of the stored vectors. Default: as the cache has it, else float32.
    overwrite : bool
        Begin a new cache in place of one that is there.
    prune : bool
        Drop rows whose file the source has no more.
    rehash : bool
        Read every file again, though size and time of last change are as they were.
    retry_failed : bool
        Try files again that failed before and have not changed.
    max_failures : int or str
        How many images may fail, as a number or in percent (``"5%"``).
    break_lock : bool
        Write although another process seems to: only if it is dead.
    shard_s : float
        Seconds after which what is done is made durable.
    precision : {"fp32", "bf16", "fp16"}
        Of the network's arithmetic. The two of 16 bit are several times faster where the device
        has them, and refused elsewhere; cosines to fp32 are mostly above 0.999.
    decode : {"exact", "fast"}
        ``fast`` reads large JPEGs at a reduced size and resizes and crops in one step. Precision
        and decode are part of the fingerprint.
    batch_size : int, optional
        Default: as the cache has it, else what the engine runs best with.
    engine, device, workers, progress
        As in `featx.embedding.loop.RunOptions`.

    Returns
    -------
    ExtractionReport

    Raises
    ------
    SourceError
        If the source is missing, empty or damaged.
    TooManyFailuresError
        If more images fail than may, or all; what is done stays for the next run.
    CacheError
        If the output cannot be written, or is no cache.
    CacheLockedError
        If another process writes it.
    FingerprintError
        If the cache has an embedding of this name that must not be mixed with this one.
    BackboneError, WeightsError, DeviceError
        If the network cannot be had or run.
    """
    output = Path(output)
    output = output.resolve() if output.is_symlink() else output
    check_dtype(dtype or DTYPES[0])
    check_destination(output, overwrite=True, error=CacheError)
    check_decode(decode)
    options = RunOptions(engine, device, batch_size, workers, progress)
    options.check_precision(precision)
    with CacheLock(output, break_lock=break_lock) as lock, ExitStack() as stack:
        remove_partials(output)
        manifest = source if isinstance(source, Manifest) else read_manifest(source)
        manifest = replace(manifest, source=escape_name(manifest.source))
        if not isinstance(source, Manifest):
            _check_apart(output, source)
        elif not source.entries:
            raise SourceError(
                f"{manifest.source}: expected at least one row, got none. Choose some."
            )
        limit = count_allowed(max_failures, len(manifest))
        base = None
        if output.exists() and not overwrite:
            base = stack.enter_context(open_cache(output))
            check_same_source(base, manifest)
        start = time.perf_counter()
        backbone = resolve_backbone(
            backbone, weights=weights, layers=layers, preprocess=preprocess, size=size
        )
        names = {
            layer: name_embedding(backbone.name if name is None else name, layer)
            for layer in backbone.layers
        }
        check_names(names.values())
        dtype, batch_size = settle_storage(base, tuple(names.values()), dtype, batch_size)
        work = name_work(output)
        options = replace(options, batch_size=batch_size or find_batch_size(work))
        runs = options.build_engine(backbone, precision, n_images=len(manifest))
        timings = Timings(start_s=time.perf_counter() - start)
        provenance = build_provenance(backbone, runs, manifest)
        infos = []
        for layer, embedding in names.items():
            fingerprint = build_fingerprint(backbone, layer, precision=precision, decode=decode)
            infos.append(EmbeddingInfo(embedding, fingerprint, provenance))
        if base is not None:
            check_fingerprints(base, infos)
        start = time.perf_counter()
        shards = Shards(
            work,
            infos,
            dtype=dtype,
            batch_size=runs.batch_size,
            fresh=overwrite,
            lock=lock,
        )
        stack.callback(shards.close)
        n_resumed = len(shards.places)
        known = Known(base, shards, [info.name for info in infos], retry_failed=retry_failed)
        settled, todo = find_todo(known, manifest, rehash=rehash)
        filler = Filler(
            backbone,
            runs,
            options,
            names,
            shards,
            known,
            limit,
            shard_s,
            manifest,
            dtype,
            decode,
            timings,
        )
        unread = filler.embed(todo, filler.list_failed(settled))
        adds_vectors = known.adds_vectors
        columns = list_infos(base, infos, len(shards.places) if adds_vectors else 0)
        outcome = assemble(
            known, manifest.entries, settled, unread, [info.name for info in columns], prune=prune
        )
        filler.check_failures(outcome.n_failed, outcome.failures)
        # Rows that another embedding had already may be the same, and yet have new vectors.
        is_changed = base is None or adds_vectors or differs(base, columns, outcome)
        if is_changed:
            write_cache(
                output,
                outcome.rows,
                [
                    known.build_column(info, choose_dtype(base, info, dtype), outcome.rows)
                    for info in columns
                ],
                failures=outcome.failures,
                source=manifest.source,
                partial=shards.folder / ".merged.h5",
                lock=lock,
            )
        shards.remove()
        taken_from = str(lock.taken_from) if lock.taken_from else None
    return ExtractionReport(
        path=output,
        n_rows=len(outcome.rows),
        n_failures=outcome.n_failed,
        n_ignored=manifest.n_ignored,
        dims={info.name: info.fingerprint.dim for info in infos},
        n_embedded=len(shards.places) - n_resumed,
        n_resumed=n_resumed,
        n_damaged=shards.n_damaged,
        n_removed=outcome.n_removed,
        is_changed=is_changed,
        taken_from=taken_from,
        elapsed_s=time.perf_counter() - start,
        timings=timings,
    )


def _check_apart(output: Path, source: PathLike | Sequence[PathLike]) -> None:
    """Refuse to put the cache where the source is."""
    given = [source] if isinstance(source, str | os.PathLike) else source
    if output.exists() and any(output.samefile(path) for path in given):
        raise CacheError(f"{output}: expected a file of its own, got the source. Name another.")


def name_embedding(backbone: str, layer: str) -> str:
    """Name an embedding in a cache: ``backbone``, or ``backbone@layer``."""
    return backbone if layer == PENULTIMATE else f"{backbone}@{layer}"


def build_provenance(backbone: Backbone, engine: Engine, manifest: Manifest) -> Provenance:
    """Say who computes an embedding, how and when: everything that is not its fingerprint."""
    now = datetime.datetime.now(datetime.UTC)
    return Provenance(
        origin=backbone.origin,
        engine=engine.name,
        device=engine.device,
        batch_size=engine.batch_size,
        source=os.fspath(manifest.source),
        time=now.isoformat(timespec="seconds"),
        host=socket.gethostname(),
        platform=platform.platform(),
        # An engine bears its package's name.
        versions={
            name: importlib.metadata.version(name)
            for name in dict.fromkeys((*VERSIONED, engine.name))
        },
    )
