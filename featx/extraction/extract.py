"""Embed a source into a cache file, or bring a cache file up to date."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

from featx.backbones.backbone import Backbone
from featx.backbones.registry import normalise_name
from featx.cache.remote_output import open_output
from featx.core.address import Address
from featx.core.learnt import join_digests
from featx.core.lookup import DigestSet
from featx.core.notes import note
from featx.core.parts import Part
from featx.core.progress import show_progress, stage
from featx.core.recognise import check_order
from featx.core.same_files import describe_conflicts, find_conflicts
from featx.core.signals import explain_end
from featx.core.typing import Decode, PathLike, Precision, VectorDtype
from featx.embedding.options import RunKeywords, RunOptions
from featx.embedding.timings import Timings
from featx.extraction.assemble import assemble, list_infos
from featx.extraction.commit import commit
from featx.extraction.fill import embed_missing
from featx.extraction.inventory import BaseIndex, Inventory, observe_files
from featx.extraction.ledger import refuse_failures, remove_failure_list
from featx.extraction.parts import name_output
from featx.extraction.plan import plan_extraction
from featx.extraction.ray_connect import parse_cluster
from featx.extraction.report import (
    ExtractionReport,
    count_labels,
    count_learnt,
    count_rows,
    count_splits,
    describe_learnt,
    list_notes,
)
from featx.extraction.request import ExtractionRequest
from featx.extraction.settings import GivenSettings
from featx.extraction.workspace import open_workspace
from featx.images.entries import as_columns
from featx.images.manifest import Manifest
from featx.images.remote import check_archives
from featx.labels.element import FIELDS


def extract(  # noqa: PLR0913
    source: PathLike | Sequence[PathLike] | Manifest,
    output: PathLike,
    *,
    part: str | None = None,
    backbone: str | Backbone | None = None,
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    preprocess: str | None = None,
    size: int | None = None,
    embedding: str | None = None,
    dtype: VectorDtype | None = None,
    precision: Precision | None = None,
    decode: Decode | None = None,
    overwrite: bool = False,
    prune: bool = False,
    rehash: bool = False,
    retry_failed: bool = False,
    max_failures: int | str = "5%",
    break_lock: bool = False,
    shard_seconds: float = 30.0,
    cluster: str | None = None,
    **run: Unpack[RunKeywords],
) -> ExtractionReport:
    """Embed every image of a source into one HDF5 file, or bring that file up to date.

    Only images that the cache lacks are sent through the network; images are identified by the
    SHA-256 of their bytes. If a run was interrupted in any way, call it again, and it continues.

    The output remembers its settings: backbone, weights, layers, preprocess, size, embedding,
    dtype, precision and decode may be left out in later calls. They are then those of the embedding
    that `embedding` or `backbone` names, or else of the one that was extended last; unfinished work
    comes first. Preprocess and size are not kept beside other weights. What is given differently is
    another embedding, or is refused. A `FeatxWarning` says which settings replaced a default.

    Parameters
    ----------
    source : path, sequence of paths or Manifest
        A folder (class folders, split folders above them, or flat), a CSV or Parquet table with a
        column ``path``, or one or several plain tars; on this machine, or at an address such as
        ``s3://bucket/photos``. A `Manifest` holds selected rows of such a source.
    output : path
        Path of the cache, or its address in a store such as ``s3://bucket/photos.h5``. An existing
        file stays as it is until the new file is complete. Unfinished work lies beside it, in
        ``OUTPUT.partial``.
    part : str, optional
        Share of the source to embed, ``"3/16"`` for the third of 16 parts, which as many processes
        or machines embed. The output is then a folder, and the part a whole cache in it
        (``part-003-of-016.h5``). The id of a row decides which part it belongs to. A new part takes
        its settings from the parts that are there. Default: the whole source.
    backbone : str or Backbone, optional
        A name from `featx.list_backbones`, or the return value of `featx.load_backbone`. Embeddings
        of another backbone are stored beside those that the cache has. Default: the one of the
        output, or else ``resnet50``.
    weights : str, optional
        ``DEFAULT``, a name, a file, or ``random:SEED``; for a backbone given by name only. Default:
        those of the output, or else ``DEFAULT``.
    layers : sequence of str, optional
        ``"penultimate"`` or nodes of the network, several read in one pass; for a backbone given
        by name only. Default: those of the output, or else ``"penultimate"``.
    preprocess : str, optional
        Name of the weights whose preprocessing is used; for a backbone given by name only. Default:
        that of the output, or else the one that belongs to the weights.
    size : int, optional
        Number of pixels per side that images are resized to; for a backbone given by name only.
        Default: that of the output, or else the size that belongs to the weights.
    embedding : str, optional
        Name of the embedding in the cache. Default: the name of the backbone, or else the one of
        the output.
    dtype : {"float32", "float16"}, optional
        Dtype of the stored vectors. Default: the dtype in the cache, or else float32.
    precision : {"fp32", "bf16", "fp16"}, optional
        Arithmetic of the network, part of the fingerprint. The 16-bit ones are several times
        faster on a device that supports them, and refused elsewhere; cosines to fp32 are mostly
        above 0.999. Default: that of the output, or else fp32.
    decode : {"exact", "fast"}, optional
        Way to decode images, part of the fingerprint. ``fast`` reads large JPEGs at a reduced size
        and resizes and crops in one step. Default: that of the output, or else exact.
    overwrite : bool
        True to start a new cache in place of the existing one.
    prune : bool
        True to drop rows whose file the source no longer has.
    rehash : bool
        True to read every file again, even if size and time of last change are the same.
    retry_failed : bool
        True to try again the unchanged files that failed before.
    max_failures : int or str
        Number of images that may fail, or a percentage of all images (``"5%"``), rounded up. If
        more fail, or all of them, the run goes on to the end, keeps its work, leaves the list of
        all failures (see `featx.read_failures`), and raises an error.
    break_lock : bool
        True to write even though another process seems to write; only if that process is dead.
    shard_seconds : float
        Seconds after which finished work is written to the disk: the most that a crash costs.
    cluster : str, optional
        ``"ray://HOST:6379"``, or ``"ray://auto"`` for the one that runs here: embed on a Ray
        cluster, by one process per GPU or else per `workers` cores. All machines must find the
        images at the same paths. ``"ray"`` starts Ray here, for this run. If this process is
        connected to a cluster already, that one is used. Default: this process.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

    Returns
    -------
    ExtractionReport
        Summary of the run: ``print(report)`` says what the source was understood to hold.

    Warns
    -----
    FeatxWarning
        If images failed, were ignored, or are no longer in the source; if labels are doubtful; if
        settings of the output replaced a default.

    Raises
    ------
    SourceError
        If the source is missing, empty or damaged.
    TooManyFailuresError
        If more images fail than `max_failures`, or if all of them fail; its attribute `failures`
        lists them.
    CacheError
        If the output cannot be written, or is no cache.
    CacheLockedError
        If another process writes the output.
    FingerprintError
        If the cache holds an embedding of the same name that was made differently.
    BackboneError, WeightsError, DeviceError, MissingExtraError
        If the network cannot be loaded or run, or the cluster cannot be reached.

    See Also
    --------
    featx.open_cache : Read the cache.
    featx.merge_caches : Write all parts to one cache.
    featx.read_failures : Read why images failed.
    featx.fit_head : Fit a classifier on it.

    Examples
    --------
    >>> report = featx.extract("photos", "new.h5", backbone="lenet5", progress=False)
    >>> report.n_rows, report.dims
    (12, {'lenet5': 84})
    """
    check_order(
        ("source", "output"),
        (source, output),
        content="cache",
        is_first=False,
        call="featx.extract({rest!r}, output={held!r})",
    )
    share = None if part is None else Part.from_text(part)
    options = RunOptions(**(run if cluster is None else run | {"device": "auto"}))
    given = GivenSettings(
        backbone=normalise_name(backbone) if isinstance(backbone, str) else backbone,
        weights=weights,
        layers=layers,
        preprocess=preprocess,
        size=size,
        embedding=embedding,
        dtype=dtype,
        precision=precision,
        decode=decode,
    )
    target, device = name_output(output, share), run.get("device", "auto")
    with (
        show_progress(options.progress),
        open_output(target, overwrite=overwrite, break_lock=break_lock, has_shards=True) as path,
    ):
        report = run_extraction(
            ExtractionRequest(
                source=source,
                output=path,
                part=share,
                given=given,
                overwrite=overwrite,
                prune=prune,
                rehash=rehash,
                retry_failed=retry_failed,
                max_failures=max_failures,
                break_lock=break_lock,
                shard_seconds=shard_seconds,
                cluster=cluster if cluster is None else parse_cluster(cluster, device),
                run=options,
            )
        )
    return replace(report, address=str(target)) if isinstance(target, Address) else report


def run_extraction(request: ExtractionRequest) -> ExtractionReport:
    """Carry out a request: plan, embed, assemble, commit, report."""
    with (
        show_progress(request.run.progress),
        open_workspace(request) as workspace,
        explain_end(workspace.describe_kept),
    ):
        start = time.perf_counter()
        shards, manifest = workspace.shards, workspace.manifest
        n_resumed = shards.index.n_contents
        with stage("looking for new images"):
            inventory = Inventory(
                manifest.rows,
                BaseIndex.from_cache(workspace.base),
                shards.index,
                [info.name for info in workspace.infos],
                retry_failed=request.retry_failed,
            )
            reads = inventory.find_reads(rehash=request.rehash)
            states = observe_files(reads, as_columns(manifest.entries).contents)
            plan = plan_extraction(
                manifest,
                inventory,
                reads,
                states,
                max_failures=request.max_failures,
                is_part=request.part is not None,
            )
        timings = Timings(start_s=workspace.start_s)
        batches = workspace.runner.iter_embedded(
            plan.todo,
            skip_digests=inventory.build_skipped() if len(plan.todo) else DigestSet(),
            dtype=workspace.dtype,
            decode=workspace.settings.decode,
            timings=timings,
        )
        filled = embed_missing(
            plan, batches, shards, workspace.embeddings, shard_seconds=request.shard_seconds
        )
        if plan.todo:
            check_archives(manifest.archives)
        if filled.is_hopeless(plan.limit):
            n_failed = len(filled.failures)
            raise refuse_failures(request.output, plan.limit, n_failed, filled.failures)
        base = workspace.base
        known = {} if base is None else {name: base.get_info(name) for name in base.embeddings}
        n_new = shards.index.n_contents if inventory.adds_vectors else 0
        infos = list_infos(known, workspace.infos, n_new)
        learnt = workspace.read_learnt(infos)
        with stage(f"writing {request.output.name}"):
            content = assemble(plan, inventory, infos, unread=filled.unread, prune=request.prune)
            if plan.limit.is_exceeded(content.n_failed):
                failures = list(filter(inventory.concerns_targets, content.failures))
                raise refuse_failures(request.output, plan.limit, content.n_failed, failures)
            is_changed = commit(
                request.output,
                workspace,
                inventory,
                content,
                learnt=learnt,
                overwrite=request.overwrite,
            )
            remove_failure_list(request.output)
        rows = content.rows.replace(**{name: content.labels.held[name] for name in FIELDS})
        counts = count_rows(rows)
        ours = join_digests(learnt[info.name] for info in workspace.infos)
        n_learnt = count_learnt(rows, ours)
        report = ExtractionReport(
            path=request.output,
            understood=workspace.describe_source(),
            n_rows=len(content.rows),
            labels=count_labels(counts),
            splits=count_splits(counts),
            n_learnt=sum(n_learnt.values()),
            n_failures=content.n_failed,
            n_ignored=manifest.n_ignored,
            dims={info.name: info.fingerprint.dim for info in workspace.infos},
            n_embedded=shards.index.n_contents - n_resumed,
            n_resumed=n_resumed,
            n_damaged=shards.n_damaged,
            n_removed=content.n_removed,
            is_changed=is_changed,
            taken_from=str(workspace.lock.taken_from) if workspace.lock.taken_from else None,
            elapsed_s=time.perf_counter() - start,
            timings=timings,
        )
        sought = manifest.rows["label"].count()
        notes = list_notes(
            report, counts, sought, prune=request.prune, is_part=request.part is not None
        )
        conflicts = find_conflicts(rows["digest"], rows["label"].codes)
        if len(conflicts):
            notes.append(describe_conflicts(rows["id"], conflicts))
        # A manifest is passed by code, which reads the report: `fine_tune` does for its trunk.
        if n_learnt and not isinstance(request.source, Manifest):
            notes.append(describe_learnt(report, n_learnt))
    for text in notes:
        note(text)
    return report
