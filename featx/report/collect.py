"""Collect everything that a report shows, as values."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featx.analytics.audit import audit_opened
from featx.analytics.row_images import RowImages
from featx.cache.reader import Cache
from featx.core.errors import CacheError
from featx.core.progress import stage
from featx.core.typing import MapMethod, PathLike
from featx.heads.head import Head
from featx.heads.target_head import TargetHead
from featx.heads.versions import find_versions
from featx.report.collect_curve import MAX_CLASSES, collect_curve, collect_tuning
from featx.report.collect_data import (
    count_rows,
    draw_map,
    list_classes,
    list_failures,
    list_splits,
    place_findings,
    sample_classes,
)
from featx.report.collect_heads import (
    ScoredHead,
    add_predictions,
    build_head_part,
    score_head,
)
from featx.report.collect_maps import add_class_maps
from featx.report.collect_pairs import list_not_paired, pair_heads
from featx.report.collect_targets import collect_target
from featx.report.commands import list_commands
from featx.report.contents import HeadPart, MapPoints, ReportContents
from featx.report.locations import Locations, list_cache_paths, list_given, name_cache
from featx.report.next_steps import list_next_steps, list_summary
from featx.report.shown_rows import ShownRows


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """What a report is asked to show.

    Attributes
    ----------
    heads : mapping of str to Head
        Heads by their names.
    head_paths : mapping of str to str
        Files of the heads by the same names, for the commands.
    output : path
        The page.
    source : path, sequence of paths or None
        Source of the images; None for the source that the cache names.
    embedding : str
        Name of the embedding of the map, of the audit and of the learning curve.
    split : str or None
        Rows that heads are judged by; None for val, or else test, or else all.
    map_method : {"pca", "tsne", "umap"}
        Way to arrange the rows on the map.
    audit, explain : bool
        Whether to look for duplicates, leaks and wrong labels, and whether to draw class maps.
    seed : int
        Seed of all that is random.
    """

    heads: Mapping[str, Head]
    head_paths: Mapping[str, str]
    output: PathLike
    source: PathLike | Sequence[PathLike] | None
    embedding: str
    split: str | None
    map_method: MapMethod
    audit: bool
    explain: bool
    seed: int


def collect_report(
    cache: Cache, request: ReportRequest, images: RowImages
) -> tuple[ReportContents, ShownRows]:
    """Collect what a report shows, without thumbnails: how many fit is known when all else is.

    Parameters
    ----------
    cache : Cache
        Open cache.
    request : ReportRequest
        What to show.
    images : RowImages
        Images of the rows.

    Returns
    -------
    contents : ReportContents
        The contents.
    shown : ShownRows
        The rows that the page shows; its `read` makes the thumbnails.
    """
    classes, splits = list_classes(cache), list_splits(cache)
    shown = ShownRows(cache, classes, splits)
    seed, embedding = request.seed, request.embedding
    with stage("scoring heads"):
        scored = [
            score_head(cache, name, head, split=request.split, seed=seed)
            for name, head in request.heads.items()
            if not isinstance(head, TargetHead)
        ]
        targets = [
            collect_target(cache, name, head, split=request.split)
            for name, head in request.heads.items()
            if isinstance(head, TargetHead)
        ]
        heads = [build_head_part(one, shown, n_heads=len(scored)) for one in scored]
        pairs = pair_heads(scored, seed=seed)
    if request.explain:
        heads = [
            add_class_maps(part, one.head, images, shown, n_heads=len(scored))
            for part, one in zip(heads, scored, strict=True)
        ]
    audited = None
    if request.audit:
        audited = audit_opened(
            cache,
            images,
            embedding=embedding,
            max_classes=MAX_CLASSES,
            progress=None,
        )
    findings = [] if audited is None else place_findings(audited, shown)
    samples = sample_classes(cache, classes, shown, seed=seed)
    similar = None if audited is None else audited.near_duplicates
    curve = collect_curve(cache, embedding, seed=seed, similar=similar)
    tuning, tuning_note = collect_tuning(cache, embedding)
    with stage("arranging the rows on a map"):
        points = _draw_map(cache, request, shown)
    failures, n_failures = list_failures(cache)
    columns, _ = shown.read(None, 0)
    contents = ReportContents(
        title=name_cache(cache),
        summary=[
            *list_summary(cache, classes, splits, heads=scored, pairs=pairs, audited=audited),
            *list_not_paired(scored),
        ],
        next_steps=list_next_steps(
            cache,
            classes,
            splits,
            heads=scored,
            n_targets=len(targets),
            audited=audited,
            curve=curve,
            embedding=embedding,
        ),
        classes=classes,
        splits=splits,
        counts=count_rows(cache, classes, splits),
        samples=samples,
        rows=columns,
        images_note="",
        failures=failures,
        n_failures=n_failures,
        findings=findings,
        points=points,
        heads=_add_predictions(heads, scored, shown),
        targets=targets,
        pairs=pairs,
        curve=curve.curve,
        curve_note=curve.note,
        tuning=tuning,
        tuning_note=tuning_note,
        provenance=list_provenance(cache),
        commands=list_commands(
            cache,
            {request.head_paths[name]: head for name, head in request.heads.items()},
            request.output,
            options=_list_options(cache, request),
        ),
    )
    return locate(cache, request).hide_all(contents), shown


def locate(cache: Cache, request: ReportRequest) -> Locations:
    """List the paths that a page names without their folders.

    Parameters
    ----------
    cache : Cache
        Open cache.
    request : ReportRequest
        What to show.
    """
    return Locations(cache, request.heads.values(), list_given(request.source))


def _draw_map(cache: Cache, request: ReportRequest, shown: ShownRows) -> MapPoints | None:
    try:
        return draw_map(
            cache, request.embedding, shown, method=request.map_method, seed=request.seed
        )
    except CacheError:
        if request.map_method != "pca":
            raise
        return None  # no row has a vector


def _add_predictions(
    heads: Sequence[HeadPart], scored: Sequence[ScoredHead], shown: ShownRows
) -> list[HeadPart]:
    rows = shown.rows
    return [add_predictions(part, one, rows) for part, one in zip(heads, scored, strict=True)]


def _list_options(cache: Cache, request: ReportRequest) -> list[str]:
    """List the words of the command that differ from what it does without them."""
    words: list[str] = []
    for source in list_given(request.source):
        words += ["--source", source]
    words += ["--embedding", request.embedding] if len(cache.embeddings) > 1 else []
    words += ["--split", request.split] if request.split else []
    words += ["--map-method", request.map_method] if request.map_method != "pca" else []
    words += [] if request.audit else ["--no-audit"]
    words += [] if request.explain else ["--no-explain"]
    return [*words, *(["--seed", str(request.seed)] if request.seed else [])]


def list_provenance(cache: Cache) -> list[tuple[str, str]]:
    """List where the rows and the embeddings come from.

    Parameters
    ----------
    cache : Cache
        Open cache.

    Returns
    -------
    list of (str, str)
        Names and values.
    """
    listed = [
        ("Cache", ", ".join(list_cache_paths(cache))),
        ("Source", cache.source),
        ("Digest of the cache", cache.digest),
    ]
    for name in cache.embeddings:
        info = cache.get_info(name)
        made = info.provenance
        by = f"made {made.time[:16]} UTC by {made.engine} on {made.device}"
        if info.fingerprint.is_imported:
            by = f"imported {made.time[:16]} UTC from {made.source}"
        listed += [
            (f"Embedding {name}", f"{info.fingerprint.describe()}; {by}"),
            (f"Weights of {name}", made.origin.weights),
            (f"Versions of {name}", ", ".join(f"{k} {v}" for k, v in made.versions.items())),
        ]
    now = datetime.datetime.now(datetime.UTC)
    versions = ", ".join(f"{name} {version}" for name, version in find_versions().items())
    return [*listed, ("This page", f"written {now:%Y-%m-%d %H:%M} UTC with {versions}")]
