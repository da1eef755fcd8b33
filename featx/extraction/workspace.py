"""Everything that an extraction holds open: lock, source, cache, backbone, engine, shards."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from featx.backbones.backbone import Backbone
from featx.cache.format import EmbeddingInfo
from featx.cache.lock import CacheLock
from featx.cache.reader import Cache
from featx.cache.shards import Shards, find_plan
from featx.core.address import find_address
from featx.core.errors import CacheError, WeightsError
from featx.core.files import name_work_dir
from featx.core.learnt import Digests, join_digests
from featx.core.notes import note
from featx.core.parts import Part
from featx.core.progress import stage
from featx.core.provenance import Provenance
from featx.core.typing import PathLike, VectorDtype
from featx.embedding.identity import build_fingerprint, build_provenance, resolve_backbone
from featx.extraction.checks import (
    check_extracted,
    check_fingerprints,
    check_manifest,
    check_same_embeddings,
    check_same_source,
)
from featx.extraction.naming import name_embeddings
from featx.extraction.parts import open_sibling, take_part
from featx.extraction.plan import choose_storage
from featx.extraction.request import ExtractionRequest
from featx.extraction.runner import Runner, open_runner
from featx.extraction.settings import Settings, choose_settings, list_stored_settings
from featx.images.elsewhere import read_file_address
from featx.images.manifest import Manifest
from featx.images.names import escape_name
from featx.images.sources.read import read_manifest


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Everything that one extraction holds open.

    Attributes
    ----------
    lock : CacheLock
        The right to write the output.
    manifest : Manifest
        Rows of the source, or of the part that is embedded.
    part : Part or None
        The part of the source that is embedded; None for the whole source.
    base : Cache or None
        The existing cache.
    settings : Settings
        The settings that decide which embeddings are made.
    backbone : Backbone
        The network.
    runner : Runner
        The engine that runs it, here or on a cluster.
    infos : tuple of EmbeddingInfo
        Requested embeddings, one per layer.
    dtype : {"float32", "float16"}
        Dtype of the stored vectors.
    shards : Shards
        Finished work.
    start_s : float
        Seconds that loading, converting and compiling the network took.
    """

    lock: CacheLock
    manifest: Manifest
    part: Part | None
    base: Cache | None
    settings: Settings
    backbone: Backbone
    runner: Runner
    infos: tuple[EmbeddingInfo, ...]
    dtype: VectorDtype
    shards: Shards
    start_s: float

    @property
    def embeddings(self) -> dict[str, str]:
        """Name of each layer's embedding in the cache."""
        return {info.fingerprint.layer: info.name for info in self.infos}

    def describe_source(self) -> str:
        """Say in one line how the source is read."""
        which = "" if self.part is None else f"part {self.part}: "
        return which + self.manifest.describe()

    def read_learnt(self, infos: Iterable[EmbeddingInfo]) -> dict[str, Digests]:
        """Read which images the networks of embeddings have learnt from.

        What the existing cache knows stays, also if the weights were saved anew without it.

        Parameters
        ----------
        infos : iterable of EmbeddingInfo
            Embeddings of the updated cache.

        Returns
        -------
        dict of str to ndarray of uint64
            Shortened digests by the name of the embedding.
        """
        base = self.base
        known = () if base is None else base.embeddings
        ours = {info.name for info in self.infos}
        learnt = {}
        for info in infos:
            parts = [self.backbone.learnt] if info.name in ours else []
            if base is not None and info.name in known:
                parts.append(base.read_learnt_digests(info.name))
            learnt[info.name] = join_digests(parts)
        return learnt

    def describe_kept(self) -> str:
        """Say what an interrupted run keeps, and how to go on."""
        n_kept = self.shards.index.n_contents
        if not n_kept:
            return "no result was written; run the same again"
        where = self.shards.folder
        return f"{n_kept:,} embedded images are kept in {where}; run the same again to go on"


@contextmanager
def open_workspace(request: ExtractionRequest) -> Iterator[Workspace]:
    """Lock the output, read the source, open the cache, load the network, open the shards."""
    output = request.output
    with ExitStack() as stack:
        lock = stack.enter_context(CacheLock(output, break_lock=request.break_lock))
        with stage("listing images"):
            whole = _read_source(request.source, output)
            manifest = whole if request.part is None else take_part(whole, request.part)
        base = None
        if output.exists() and not request.overwrite:
            with stage(f"reading {output.name}"):
                base = stack.enter_context(Cache(output))
            check_extracted(base)
            check_same_source(base, manifest)
        made = base  # the cache whose embeddings this run must be comparable with
        if base is None and request.part is not None and not request.overwrite:
            made = open_sibling(output, stack)
        work_dir = name_work_dir(output)
        plan = find_plan(work_dir)
        stored = [] if request.overwrite else list_stored_settings(made, plan)
        settings = choose_settings(request.given, stored)
        told = () if isinstance(request.source, Manifest) else whole.notes
        kept_from = output if made is None or plan is not None else made.path
        kept = settings.describe_kept(kept_from)
        for text in filter(None, (*told, kept)):
            note(text)
        start = time.perf_counter()
        if request.cluster is None:  # before any weights are downloaded
            request.run.check_precision(settings.precision)
        backbone = _load_backbone(settings, kept_from)
        names = name_embeddings(settings.embedding, backbone.layers)
        dtype, batch_size = choose_storage(made, names, settings.dtype, request.run.batch_size)
        if batch_size == "auto" and plan is not None:  # unfinished work keeps its batch size
            batch_size = plan.batch_size
        run = replace(request.run, batch_size=batch_size)
        runner = stack.enter_context(
            open_runner(request.cluster, backbone, run, settings=settings, n_images=len(whole))
        )
        provenance = build_provenance(backbone, runner.engine, os.fspath(manifest.source))
        infos = _build_infos(settings, backbone, names, provenance)
        if made is not None:
            check_fingerprints(made, infos)
            if made is not base:
                check_same_embeddings(made, infos)
        start_s = time.perf_counter() - start
        shards = Shards(
            work_dir,
            infos,
            source=manifest.rows,
            dtype=dtype,
            batch_size=runner.engine.batch_size,
            fresh=request.overwrite,
            lock=lock,
        )
        stack.callback(shards.close)
        if request.retry_failed:
            shards.index.failures.clear()
        yield Workspace(
            lock=lock,
            manifest=manifest,
            part=request.part,
            base=base,
            settings=settings,
            backbone=backbone,
            runner=runner,
            infos=infos,
            dtype=dtype,
            shards=shards,
            start_s=start_s,
        )


def _read_source(source: PathLike | Sequence[PathLike] | Manifest, output: Path) -> Manifest:
    """List the images of a source; refuse one that the output would replace."""
    if isinstance(source, Manifest):
        manifest = replace(source, source=escape_name(source.source))
        check_manifest(manifest)
        return manifest
    manifest = read_manifest(source)
    given = [source] if isinstance(source, str | os.PathLike) else source
    files = [read_file_address(os.fspath(path)) for path in given if find_address(path) is None]
    if output.exists() and any(output.samefile(file) for file in files):
        raise CacheError(
            subject=str(output),
            expected="a file of its own",
            got="the source",
            remedy="Name another output.",
        )
    return replace(manifest, source=escape_name(manifest.source))


def _load_backbone(settings: Settings, output: Path) -> Backbone:
    """Load the network; weights that the output names may have been moved since."""
    load = functools.partial(
        resolve_backbone,
        settings.backbone,
        weights=settings.weights,
        layers=settings.layers,
        size=settings.size,
    )
    try:
        backbone = load(preprocess=settings.preprocess)
        # Most preprocessing belongs to the weights. To name it would be another request, which the
        # store of descriptions does not know: the network would be built to describe it.
        if settings.preprocess_from not in (None, backbone.origin.preprocess_from):
            backbone = load(preprocess=settings.preprocess_from)
    except WeightsError as error:
        if not settings.has_kept_weights:
            raise
        remedy = (
            f"{error.remedy} Or pass weights=FILE with the weights that {output} was made with."
        )
        raise WeightsError(
            subject=error.subject, expected=error.expected, got=error.got, remedy=remedy
        ) from error
    return backbone


def _build_infos(
    settings: Settings,
    backbone: Backbone,
    names: Sequence[str],
    provenance: Provenance,
) -> tuple[EmbeddingInfo, ...]:
    """Describe the requested embeddings by their fingerprints and their provenance."""
    fingerprints = (
        build_fingerprint(backbone, layer, precision=settings.precision, decode=settings.decode)
        for layer in backbone.layers
    )
    return tuple(
        EmbeddingInfo(name, fingerprint, provenance)
        for name, fingerprint in zip(names, fingerprints, strict=True)
    )
