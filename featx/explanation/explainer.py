"""An open network with a head, which explains images in many calls."""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np

from featx.backbones.preprocess import ImageClassification
from featx.core.errors import FeatxError
from featx.core.notes import note
from featx.core.progress import open_bar, show_progress
from featx.core.rows import Row
from featx.core.text import count_noun, show_text
from featx.core.typing import Approximation, ClassMapMethod, Count, Float32Array, check_choice
from featx.embedding.decoding import CHUNK, DepthTally, Prepared, iter_chunks, iter_prepared
from featx.embedding.identity import find_decode, restore_backbone
from featx.embedding.named import load_named
from featx.embedding.options import RunOptions
from featx.embedding.timings import Timings
from featx.engines.choose import choose_device, list_devices
from featx.explanation.choice import ClassChoice, Classes
from featx.explanation.class_map import ClassMap, describe_method, show_pixels
from featx.explanation.decompose import read_logit_weights, score_logits
from featx.explanation.runner import ExactRunner, Explained, GradCamRunner, Runner
from featx.fitting.inputs import HeadLike, read_class_head
from featx.images.entries import Entry
from featx.images.prefetch import iter_fetched
from featx.images.sources.inputs import read_images

BATCH_SIZE = 8
"""Images per batch: a map needs no more speed than that, and a GPU no more memory."""

N_DIGITS = 9
"""Digits of a probability behind the point."""

NOT_FINITE = "the network returns NaN or infinity"


class Explainer:
    """A head with its network, which shows where in images the evidence for a class lies.

    The network runs with PyTorch in float32, whatever engine and precision made the cache. An
    explainer may be shared by threads: calls run one after the other. Close it to release its
    memory, or use it as a context manager.

    Parameters
    ----------
    head : path or Head
        The head, or its path; a linear one.
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the head records.
    approximation : {"grad-cam"}, optional
        Approximation to compute in place of exact maps, for networks that do not end in an average.
        Default: exact maps only.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}
        Device that runs the network.
    batch_size : int or "auto"
        Number of images that go through the network at a time.
    workers : int or "auto"
        Number of threads that read and decode images.
    progress : bool, optional
        True to show progress on standard error, False to hide it.

    Attributes
    ----------
    head : Head
        The head.
    method : {"exact", "grad-cam"}
        Way in which maps are computed.

    Raises
    ------
    HeadError
        If the head cannot be read, is not linear, or reads several embeddings.
    BackboneError
        If the network does not end in an average, and no approximation was asked for.
    FingerprintError
        If the weights differ from those of the head, or another program computed its embeddings.
    WeightsError, DeviceError
        If the weights or the device are missing.

    See Also
    --------
    featx.explain : Explain images in one call.

    Examples
    --------
    >>> with featx.Explainer("head.joblib", progress=False) as explainer:
    ...     for one in explainer.explain(["ant.jpg", "bee.jpg"], [["ants"], ["ants", "bees"]]):
    ...         print(one.path, one.label)
    ant.jpg ants
    bee.jpg ants
    bee.jpg bees
    """

    def __init__(
        self,
        head: HeadLike,
        *,
        weights: str | None = None,
        approximation: Approximation | None = None,
        device: str = "auto",
        batch_size: Count = "auto",
        workers: Count = "auto",
        progress: bool | None = None,
    ) -> None:
        if approximation is not None:
            check_choice("approximation", approximation, Approximation)
        self._options = RunOptions(
            engine="torch", device=device, batch_size=batch_size, workers=workers, progress=progress
        )
        self.head = read_class_head(head)
        logits = read_logit_weights(self.head)  # before any weights are downloaded
        embedding = self.head.get_only_embedding()
        self.method: ClassMapMethod = approximation or "exact"
        kind = ExactRunner if approximation is None else GradCamRunner
        with show_progress(progress):
            self._backbone = restore_backbone(
                embedding.fingerprint,
                embedding.origin,
                weights=weights,
                subject="the head",
                load=load_named,
            )
            self._decode = find_decode(embedding.fingerprint)
            device = list_devices(choose_device(device))[0]
            self._runner: Runner | None = kind(self._backbone, logits, device)
        self._lock = threading.Lock()

    @property
    def text(self) -> str:
        """Sentence that says what the maps are."""
        return describe_method(self.method)

    def explain(
        self,
        images: Any,
        classes: Classes = None,
        *,
        top: int = 1,
    ) -> list[ClassMap]:
        """Explain images.

        Parameters
        ----------
        images : path, open file, bytes, PIL image, array, or iterable of these
            Images as `featx.embed` takes them.
        classes : sequence of str, or sequence of sequence of str, optional
            Classes to show for every image, or those of each image. Default: the most probable
            ones.
        top : int
            Number of most probable classes to show, if no classes are given.

        Returns
        -------
        list of ClassMap
            Maps in the order of the images, and for each in the order of the classes. An image that
            cannot be read has one, with an `error`.

        Warns
        -----
        FeatxWarning
            If an image has no map.

        Raises
        ------
        HeadError
            If the head does not know a class.
        FeatxError
            If the explainer is closed, `top` is smaller than 1, or `classes` has another number of
            images.
        SourceError
            If something is no image, or a path does not exist or cannot be read as a source.
        """
        return list(self.iter_maps(images, classes, top=top))

    def iter_maps(
        self,
        images: Any,
        classes: Classes = None,
        *,
        top: int = 1,
    ) -> Iterator[ClassMap]:
        """Explain images one after the other, so that memory holds few of them.

        Parameters
        ----------
        images : path, open file, bytes, PIL image, array, or iterable of these
            Images as `featx.embed` takes them.
        classes : sequence of str, or sequence of sequence of str, optional
            Classes to show for every image, or those of each image. Default: the most probable
            ones.
        top : int
            Number of most probable classes to show, if no classes are given.

        Yields
        ------
        ClassMap
            Maps in the order that `explain` returns them in.
        """
        return self.iter_entries(read_images(images), classes, top=top)

    def iter_entries(
        self, entries: Iterable[Entry], classes: Classes = None, *, top: int = 1
    ) -> Iterator[ClassMap]:
        """Explain the entries of a manifest one after the other.

        Parameters
        ----------
        entries : iterable of Entry
            The images.
        classes : sequence of str, or sequence of sequence of str, optional
            Classes to show for every image, or those of each image. Default: the most probable
            ones.
        top : int
            Number of most probable classes to show, if no classes are given.

        Yields
        ------
        ClassMap
            Maps in the order that `explain` returns them in.
        """
        return self._iter_maps(entries, ClassChoice(self.head, classes, top))

    def _iter_maps(self, entries: Iterable[Entry], chosen: ClassChoice) -> Iterator[ClassMap]:
        size = self._options.batch_size
        size = BATCH_SIZE if size == "auto" else size
        workers, depths = self._options.n_workers, DepthTally()
        n_images = operator.length_hint(entries)
        n_done, n_failed, first = 0, 0, ""
        bar = open_bar("explaining", n_images, unit="images", show=self._options.progress)
        with bar, ThreadPoolExecutor(workers, "featx-decode") as pool:
            prepared = iter_prepared(
                pool,
                iter_fetched(iter_chunks(entries)),
                self._backbone,
                n_ahead=size + workers * CHUNK,
                skip_digests=None,
                decode=self._decode,
                timings=Timings(),
                depths=depths,
            )
            while batch := list(itertools.islice(prepared, size)):
                chosen.check_count(n_done + len(batch))
                for number, (one, found) in enumerate(
                    zip(batch, self._explain_batch(batch, chosen, n_done), strict=True), n_done
                ):
                    if isinstance(found, str):
                        n_failed += 1
                        first = first or show_text(f"{one.row.path}: {found}")
                        yield self._describe_failure(number, one.row, found)
                    else:
                        yield from self._describe(number, one, found)
                    bar.update(1)
                n_done += len(batch)
        chosen.check_count(n_done, is_end=True)
        depths.warn()
        if n_failed:
            note(f"no map for {n_failed} of {count_noun(n_done, 'image')}, such as {first}")

    def _explain_batch(
        self, batch: Sequence[Prepared], chosen: ClassChoice, start: int
    ) -> list[Explained | str]:
        """Explain images: the maps of each, or the reason why it has none."""
        found: list[Explained | str] = [one.failure.reason if one.failure else "" for one in batch]
        places = [place for place, one in enumerate(batch) if one.pixels is not None]
        if not places:
            return found
        pixels = np.stack([one.pixels for one in batch if one.pixels is not None])
        finite = np.zeros(len(places), bool)

        def choose(X: Float32Array) -> list[Sequence[int]]:
            finite[:] = np.isfinite(X).all(axis=1)
            codes: list[Sequence[int]] = [()] * len(places)
            for place in np.flatnonzero(finite).tolist():
                codes[place] = chosen.choose(start + places[place], X[place])
            return codes

        with self._lock:
            if self._runner is None:
                raise FeatxError(
                    subject="explainer",
                    expected="an open one",
                    got="a closed one",
                    remedy="Open another one with featx.Explainer(head).",
                )
            explained = self._runner.run(pixels, choose)
        for place, one, is_finite in zip(places, explained, finite, strict=True):
            found[place] = one if is_finite else NOT_FINITE
        return found

    def _describe(self, number: int, prepared: Prepared, found: Explained) -> Iterator[ClassMap]:
        row = prepared.row
        assert prepared.pixels is not None
        assert row.width is not None
        assert row.height is not None
        logits = score_logits(self.head, found.embedding[None])[0]
        shares = np.round(self.head.predict_proba(found.embedding[None])[0], N_DIGITS)
        preprocess, box = self._backbone.preprocess, None
        if isinstance(preprocess, ImageClassification):
            box = preprocess.find_box(row.width, row.height)
        image = show_pixels(prepared.pixels)
        for code, (values, bias) in zip(found.codes, found.maps, strict=True):
            yield ClassMap(
                number=number,
                path=row.path,
                true_label=row.label,
                label=str(self.head.classes[code]),
                probability=float(shares[code]),
                logit=float(logits[code]),
                bias=bias,
                values=values.astype(np.float32),
                image=image,
                size=(row.width, row.height),
                box=box,
                method=self.method,
            )

    def _describe_failure(self, number: int, row: Row, reason: str) -> ClassMap:
        return ClassMap(
            number=number,
            path=row.path,
            true_label=row.label,
            method=self.method,
            error=reason,
        )

    def close(self) -> None:
        """Release the memory of the network, after calls in other threads have ended."""
        with self._lock:
            self._runner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
