"""Images through a frozen network: the one loop that all uses of a backbone share."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import joblib
import numpy as np
from tqdm import tqdm

from featx.backbones.load import Backbone, load_backbone
from featx.backbones.network import PENULTIMATE
from featx.engines.torch_engine import TorchEngine, choose_device
from featx.errors import BackboneError, DecodeError, FeatxError, WeightsError
from featx.fingerprint import Fingerprint, check_comparable
from featx.images.decode import DECODER, decode_image
from featx.images.manifest import Content, Entry, InMemory, escape_name
from featx.images.sources import list_entries
from featx.rows import Failure, Row

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RunOptions:
    """How to run, which does not change what comes out.

    Attributes
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    batch_size : int
        Rows run at a time.
    workers : int or None
        Threads that read and decode; None: one per core, at most 16.
    progress : bool or None
        Show a progress bar on standard error; None: where that is a terminal.
    """

    device: str = "auto"
    batch_size: int = 32
    workers: int | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise FeatxError(f"{name}: expected at least 1, got {value}. Pass more, or none.")
        choose_device(self.device)  # before weights are fetched for nothing

    def build_engine(self, backbone: Backbone) -> TorchEngine:
        """Build what runs the network."""
        return TorchEngine(backbone, device=self.device, batch_size=self.batch_size)


@dataclass(frozen=True)
class EmbeddedBatch:
    """What came of one batch: rows with their vectors, and those that failed before it.

    Attributes
    ----------
    rows : tuple of Row
        With digest and size.
    vectors : dict of str to ndarray
        Per layer ``(len(rows), dim)``, finite.
    failures : tuple of Failure
    repeats : tuple of Row
        Whose content was known already: with digest, without size.
    """

    rows: tuple[Row, ...]
    vectors: dict[str, Array]
    failures: tuple[Failure, ...]
    repeats: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One image on its way: its row, and its pixels or what went wrong; neither if it is known."""

    row: Row
    pixels: Array | None = None
    failure: Failure | None = None


def resolve_backbone(
    backbone: str | Backbone,
    *,
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
) -> Backbone:
    """Load a backbone given by its name; take one that is loaded as it is.

    Raises
    ------
    BackboneError
        If one that is loaded comes with options that it could not follow.
    """
    if isinstance(backbone, str):
        return load_backbone(backbone, weights=weights, layers=layers, preprocess=preprocess)
    if (weights, tuple(layers), preprocess) != ("DEFAULT", (PENULTIMATE,), None):
        raise BackboneError(
            f"{backbone.name}: expected no weights, layers or preprocess beside a loaded backbone, "
            "got some. Pass them to featx.load_backbone."
        )
    return backbone


def restore_backbone(
    fingerprint: Fingerprint,
    origin: Mapping[str, Any],
    *,
    subject: str,
    weights: str | None = None,
) -> Backbone:
    """Load the backbone that embeddings were made with.

    Parameters
    ----------
    fingerprint : Fingerprint
    origin : mapping
        Their provenance: ``weights`` and ``preprocess_from``.
    subject : str
        Whose embeddings they are, for errors.
    weights : str, optional
        Where the weights are now.

    Raises
    ------
    FingerprintError
        If the weights are there, but are others.
    WeightsError
        If they are not there.
    """
    try:
        backbone = load_backbone(
            fingerprint.backbone,
            weights=weights or origin["weights"],
            layers=[fingerprint.layer],
            preprocess=origin["preprocess_from"],
        )
    except WeightsError as error:
        if weights is not None:
            raise
        raise WeightsError(
            f"{error} Or say where the weights of {subject} are now: --weights."
        ) from error
    check_comparable(
        fingerprint,
        build_fingerprint(backbone, fingerprint.layer, precision=fingerprint.precision),
        subject=f"backbone {fingerprint.backbone} for {subject}",
        remedy=f"Pass --weights with the file that the embeddings of {subject} were made with.",
    )
    return backbone


def build_fingerprint(backbone: Backbone, layer: str, *, precision: str) -> Fingerprint:
    """Say what makes embeddings of this backbone comparable."""
    return Fingerprint(
        backbone=backbone.name,
        weights_digest=backbone.weights_digest,
        layer=layer,
        preprocess=backbone.preprocess.describe(),
        decoder=DECODER,
        precision=precision,
        dim=backbone.dims[layer],
    )


def iter_embedded(
    entries: Sequence[Entry],
    backbone: Backbone,
    engine: TorchEngine,
    options: RunOptions,
    known: set[str] | None = None,
    dtype: str = "float32",
) -> Iterator[EmbeddedBatch]:
    """Embed the entries of a manifest, in their order.

    Threads read, decode and resize ahead of the network; memory holds a few batches, however many
    entries there are. An image that cannot be embedded becomes a failure and leaves its
    neighbours as they are.

    Parameters
    ----------
    entries, backbone, engine, options
        What, by which network, and how.
    known : set of str, optional
        Digests of contents that are not to be embedded; each that is read is added, so that no
        content is embedded twice. Default: embed every entry.
    dtype : {"float32", "float16"}
        Of the vectors.
    """
    # Counts what this process may use: on a cluster fewer cores than the machine has.
    workers = options.workers or min(joblib.cpu_count(), 16)
    bar = tqdm(
        total=len(entries),
        unit=" images",
        # None lets tqdm ask whether standard error is a terminal.
        disable=None if options.progress is None else not options.progress,
    )
    batch = _Batch()
    with warnings.catch_warnings(), bar, ThreadPoolExecutor(workers, "featx-decode") as pool:
        # The ledger says what is wrong with a file. Not around each image: filters belong to the
        # process, and threads would restore each other's.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        ahead = 2 * engine.batch_size + workers
        for prepared in _iter_ahead(pool, entries, backbone, ahead, known):
            bar.update()
            batch.add(prepared, known)
            if len(batch.rows) == engine.batch_size or len(batch) >= MAX_UNREPORTED:
                yield batch.run(engine, dtype)
                batch = _Batch()
        if len(batch):
            yield batch.run(engine, dtype)


MAX_UNREPORTED = 1024
"""Repeats and failures are handed on at the latest with so many, though no batch is full."""


class _Batch:
    """What waits for the network, and what will never reach it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._pixels: list[Array] = []
        self._failures: list[Failure] = []
        self._repeats: list[Row] = []

    def __len__(self) -> int:
        return len(self.rows) + len(self._failures) + len(self._repeats)

    def add(self, prepared: _Prepared, known: set[str] | None) -> None:
        """Take one image where it belongs."""
        row, digest = prepared.row, prepared.row.digest
        if prepared.failure is None and (prepared.pixels is None or digest in (known or ())):
            self._repeats.append(row)
            return
        if known is not None and digest:
            known.add(digest)
        if prepared.failure is not None:
            self._failures.append(prepared.failure)
        elif prepared.pixels is not None:
            self.rows.append(row)
            self._pixels.append(prepared.pixels)

    def run(self, engine: TorchEngine, dtype: str) -> EmbeddedBatch:
        """Run the network, and take out rows whose embedding is not finite."""
        if not self.rows:
            return EmbeddedBatch((), {}, tuple(self._failures), tuple(self._repeats))
        with np.errstate(over="ignore"):
            output = engine.run(np.stack(self._pixels))
            vectors = {name: part.astype(dtype, copy=False) for name, part in output.items()}
        finite = np.all([np.isfinite(part).all(axis=1) for part in vectors.values()], axis=0)
        for row, good in zip(self.rows, finite, strict=True):
            if not good:
                reason = "the network's output is not finite"
                reason += "" if dtype == "float32" else f" in {dtype}"
                self._failures.append(_fail(row, "embed", reason))
        kept = tuple(row for row, good in zip(self.rows, finite, strict=True) if good)
        vectors = {name: part[finite] for name, part in vectors.items()}
        return EmbeddedBatch(kept, vectors, tuple(self._failures), tuple(self._repeats))


def _fail(row: Row, stage: str, reason: str) -> Failure:
    """Write one line of the ledger."""
    reason = " ".join(reason.split())
    reason = reason if reason.isprintable() else escape_name(reason)
    return Failure(
        row.id, row.path, row.digest, stage, reason, n_bytes=row.n_bytes, mtime_ns=row.mtime_ns
    )


def _iter_ahead(
    pool: ThreadPoolExecutor,
    entries: Iterable[Entry],
    backbone: Backbone,
    ahead: int,
    known: set[str] | None,
) -> Iterator[_Prepared]:
    """Prepare entries in the pool, at most so many ahead, and yield them in order."""
    waiting: deque[Future[_Prepared]] = deque()
    try:
        for entry in entries:
            waiting.append(pool.submit(_prepare, entry, backbone, known))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _prepare(entry: Entry, backbone: Backbone, known: set[str] | None) -> _Prepared:
    """Read, decode and preprocess one image."""
    row, stage = entry.row, "read"
    try:
        data = entry.content.image if isinstance(entry.content, InMemory) else None
        if isinstance(entry.content, Content):
            data, n_bytes, mtime_ns = entry.content.read_whole()
            digest = sha256(data).hexdigest()
            row = replace(row, digest=digest, n_bytes=n_bytes, mtime_ns=mtime_ns)
            if known is not None and digest in known:
                return _Prepared(row)
        stage = "decode"
        image = decode_image(data)
        row = replace(row, width=image.width, height=image.height)
        stage = "preprocess"
        pixels = backbone.preprocess.prepare(image)
        if pixels.shape != backbone.pixel_shape:
            raise ValueError(f"expected shape {backbone.pixel_shape}, got {pixels.shape}")
        return _Prepared(row, pixels)
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception as error:  # one image, whatever is wrong with it, must not end the run
        reason = str(error) if isinstance(error, FeatxError) else f"{type(error).__name__}: {error}"
    return _Prepared(row, failure=_fail(row, stage, reason))


def embed(
    images: Any,
    *,
    backbone: str | Backbone = "resnet50",
    weights: str = "DEFAULT",
    layer: str = PENULTIMATE,
    device: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    progress: bool | None = None,
) -> Array:
    """Embed a few images, for a notebook.

    Parameters
    ----------
    images : path, PIL image, array, or sequence of these
        A path may be an image, a folder, a table or a tar. An array is uint8 of shape
        ``(height, width, 3)``, or ``(height, width)`` for gray.
    backbone : str or Backbone
        A name, or what `featx.load_backbone` returned.
    weights, layer : str
        As `featx.load_backbone` takes them; for a name only.
    device, batch_size, workers, progress
        As in `featx.embedding.RunOptions`.

    Returns
    -------
    ndarray
        float32 ``(n_images, dim)``, in the order given.

    Raises
    ------
    DecodeError
        If any image cannot be embedded, naming it: no row is dropped silently.

    Examples
    --------
    >>> X = featx.embed(["ant.jpg", "bee.jpg"], backbone="resnet18")
    >>> X.shape
    (2, 512)
    """
    options = RunOptions(device, batch_size, workers, progress)
    backbone = resolve_backbone(backbone, weights=weights, layers=[layer])
    if len(backbone.layers) > 1:
        raise BackboneError(
            f"{backbone.name}: expected one layer to embed, got {', '.join(backbone.layers)}. "
            "Load it with one, or use featx.extract."
        )
    engine = options.build_engine(backbone)
    parts = [np.empty((0, backbone.dims[backbone.layers[0]]), np.float32)]
    for batch in iter_embedded(list_entries(images), backbone, engine, options):
        if batch.failures:
            failure = batch.failures[0]
            raise DecodeError(
                f"{failure.path}: expected an image, got {failure.reason}. Leave it out, or use "
                "featx.extract, which records failures and goes on."
            )
        parts.append(batch.vectors[backbone.layers[0]])
    return np.concatenate(parts)
