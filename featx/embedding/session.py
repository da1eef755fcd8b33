"""An open engine with a backbone, which embeds images in many calls."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Self

import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.errors import BackboneError, DecodeError, FeatxError
from featx.core.fingerprint import Fingerprint
from featx.core.process import use_torch
from featx.core.provenance import Origin
from featx.core.typing import Decode, Float32Array, Precision
from featx.embedding.batching import EmbeddedBatch
from featx.embedding.identity import find_decode, restore_backbone
from featx.embedding.loop import iter_embedded
from featx.embedding.named import is_named, load_named
from featx.embedding.options import RunOptions
from featx.engines.engine import Engine
from featx.engines.info import EngineInfo, describe_engine
from featx.images.entries import Entry
from featx.images.sources.inputs import read_images


class EmbeddingSession:
    """Keep an engine open and embed images with it.

    A session may be shared by threads: calls run one after the other. Close the session to release
    the threads and memory of the engine, or use it as a context manager.

    Parameters
    ----------
    backbone : Backbone
        The network, which has one layer unless `several` is True.
    options : RunOptions
        Options of the engine and of the decoding threads.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    decode : {"exact", "fast"}
        Way to decode images.
    n_images : int
        Number of images to expect; the network is compiled if there are many.
    engine : Engine, optional
        An open engine for the backbone, which its owner closes. Default: one of the session's own.
    several : bool
        Whether the backbone may have several layers, whose vectors only `iter_batches` returns.

    Raises
    ------
    BackboneError
        If the backbone has several layers.
    DeviceError
        If the device is missing, lacks the precision, or has too little memory.
    """

    def __init__(
        self,
        backbone: Backbone,
        options: RunOptions,
        *,
        precision: Precision,
        decode: Decode = "exact",
        n_images: int = 0,
        engine: Engine | None = None,
        several: bool = False,
    ) -> None:
        if not several:
            _check_layers(backbone)
        self.backbone, self._options, self._decode = backbone, options, decode
        self._owns_engine = engine is None
        self._engine = engine or options.build_engine(backbone, precision, n_images=n_images)
        self._lock, self._is_open = threading.Lock(), True
        self._user: int | None = None  # the thread that holds the lock

    @property
    def engine(self) -> EngineInfo:
        """The description of the engine."""
        return describe_engine(self._engine)

    def embed(self, images: Any) -> Float32Array:
        """Embed images.

        Parameters
        ----------
        images : path, open file, bytes, PIL image, array, or iterable of these
            Images as `featx.embed` takes them.

        Returns
        -------
        ndarray
            Vectors ``(n_images, dim)``, in the order given.

        Raises
        ------
        DecodeError
            If an image cannot be embedded. The error names the image.
        """
        return self.embed_entries(read_images(images))

    def embed_entries(self, entries: Iterable[Entry]) -> Float32Array:
        """Embed the entries of a manifest; see `embed`.

        Parameters
        ----------
        entries : iterable of Entry
            The images.
        """
        (layer,) = self.backbone.layers
        parts = [np.empty((0, self.backbone.dims[layer]), np.float32)]
        with closing(self.iter_batches(entries)) as batches:
            for batch in batches:
                refuse_failures(batch)
                parts.append(batch.vectors[layer])
        return np.concatenate(parts)

    def iter_batches(self, entries: Iterable[Entry]) -> Generator[EmbeddedBatch]:
        """Embed the entries of a manifest, in their order; close the generator to stop early.

        Other threads wait until the generator is closed.

        Parameters
        ----------
        entries : iterable of Entry
            The images.

        Raises
        ------
        FeatxError
            If the session is closed, or if the images themselves need it.
        DeviceError
            If this process was forked from the one that opened the session.
        """
        self._engine.check_process()  # before the lock, which another process may have held
        if self._user == threading.get_ident():  # else this thread would wait for itself
            raise FeatxError(
                subject="images",
                expected="images that do not need the engine that embeds them",
                got="a generator that embeds or predicts with it",
                remedy="List the images first, or open a second predictor for them.",
            )
        with self._lock, self._note_user():
            if not self._is_open:
                raise FeatxError(
                    subject=f"engine for {self.backbone.name}",
                    expected="an open engine",
                    got="a closed one",
                    remedy="Open another one with featx.open_predictor(head).",
                )
            yield from iter_embedded(
                entries, self.backbone, self._engine, self._options, decode=self._decode
            )

    @contextmanager
    def _note_user(self) -> Iterator[None]:
        self._user = threading.get_ident()
        try:
            yield
        finally:
            self._user = None

    def close(self) -> None:
        """Release the engine's threads and memory, after calls in other threads have ended."""
        if not self._engine.is_here:  # the process that built the engine releases it
            return
        with self._lock:
            if self._is_open:
                self._is_open = False
                if self._owns_engine:
                    self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def refuse_failures(batch: EmbeddedBatch) -> None:
    """Raise an error for the first image of a batch that failed.

    Parameters
    ----------
    batch : EmbeddedBatch
        The results of the batch.

    Raises
    ------
    DecodeError
        If an image failed. The error names the image.
    """
    for failure in batch.failures:
        raise DecodeError(
            subject=failure.path,
            expected="an image that can be embedded",
            got=f"a {failure.stage} failure ({failure.reason})",
            remedy="Leave the image out, or use featx.extract, which records failures and goes on.",
        )


@contextmanager
def open_for_call(
    backbone: Backbone,
    options: RunOptions,
    *,
    precision: Precision,
    decode: Decode,
    n_images: int,
    is_kept: bool,
    several: bool = False,
) -> Iterator[EmbeddingSession]:
    """Open a session for one call, with the engine that the backbone keeps between calls.

    Parameters
    ----------
    backbone, options, precision, decode, n_images, several
        As `EmbeddingSession` takes them.
    is_kept : bool
        Whether the backbone keeps the engine for its next call.
    """
    if not several:
        _check_layers(backbone)  # before an engine is built
    with (
        use_torch(),
        options.open_engine(backbone, precision, n_images=n_images, is_kept=is_kept) as engine,
        EmbeddingSession(
            backbone, options, precision=precision, decode=decode, engine=engine, several=several
        ) as session,
    ):
        yield session


def open_restored(
    fingerprint: Fingerprint,
    origin: Origin,
    options: RunOptions,
    *,
    subject: str,
    weights: str | None = None,
    n_images: int = 0,
    others: Sequence[Fingerprint] = (),
) -> AbstractContextManager[EmbeddingSession]:
    """Open a session for one call over the backbone of embeddings, which keeps its engine.

    Parameters
    ----------
    fingerprint, origin, subject, weights, others
        As `restore_backbone` takes them.
    options : RunOptions
        Options of the engine and of the decoding threads.
    n_images : int
        Number of images to expect; the network is compiled if there are many.

    Returns
    -------
    context manager
        The block in which the session is open.

    Raises
    ------
    FingerprintError, WeightsError
        As `restore_backbone` raises them.
    """
    options.check_precision(fingerprint.precision)  # before any weights are downloaded
    backbone = restore_backbone(
        fingerprint, origin, weights=weights, subject=subject, load=load_named, others=others
    )
    return open_for_call(
        backbone,
        options,
        precision=fingerprint.precision,
        decode=find_decode(fingerprint),
        n_images=n_images,
        is_kept=is_named(backbone),
        several=bool(others),
    )


def _check_layers(backbone: Backbone) -> None:
    if len(backbone.layers) > 1:
        raise BackboneError(
            subject=backbone.name,
            expected="one layer to embed",
            got=", ".join(backbone.layers),
            remedy="Load the backbone with one layer, or use featx.extract.",
        )
