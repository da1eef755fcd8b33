"""Embed a few images, for a notebook."""

from __future__ import annotations

import operator
from typing import Any, Unpack

from featx.backbones.backbone import Backbone
from featx.backbones.spec import PENULTIMATE
from featx.core.errors import DecodeError
from featx.core.progress import show_progress
from featx.core.typing import Decode, Float32Array, Precision, check_choice
from featx.embedding.identity import resolve_backbone
from featx.embedding.named import is_named, load_named
from featx.embedding.options import RunKeywords, RunOptions
from featx.embedding.session import open_for_call
from featx.images.sources.inputs import read_images


def embed(
    images: Any,
    *,
    backbone: str | Backbone = "resnet50",
    weights: str = "DEFAULT",
    layer: str = PENULTIMATE,
    size: int | None = None,
    precision: Precision = "fp32",
    decode: Decode = "exact",
    **run: Unpack[RunKeywords],
) -> Float32Array:
    """Embed a few images, for a notebook.

    The engine stays open for the next call with the same backbone, see `featx.close_engines`.

    Parameters
    ----------
    images : path, open file, bytes, PIL image, array, or iterable of these
        Images to embed. A path names an image, a folder, a table or a tar. Bytes are the content of
        one image file; an open binary file is read from its start. An array is uint8 of shape
        ``(height, width, 3)``, or ``(height, width)`` for gray, or a batch ``(n, height, width,
        3)``; a tensor of torch has its channels first, as in torchvision. An array or a series of
        paths is a sequence. Images of a generator are taken when they are needed.
    backbone : str or Backbone
        A name from `featx.list_backbones`, or the return value of `featx.load_backbone`.
    weights : str
        ``DEFAULT``, a name, a file, or ``random:SEED``; for a backbone given by name only.
    layer : str
        Name of the layer to read; for a backbone given by name only.
    size : int, optional
        Number of pixels per side that images are resized to. Default: the size that belongs to the
        weights. For a backbone given by name only.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    decode : {"exact", "fast"}
        Way to decode images.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

    Returns
    -------
    ndarray
        Vectors float32 ``(n_images, dim)``, in the order given.

    Raises
    ------
    DecodeError
        If an image cannot be embedded. The error names the image; no image is dropped silently.
    SourceError
        If something is no image, or a path does not exist or cannot be read as a source.
    BackboneError, WeightsError, DeviceError
        If the network cannot be loaded or run.

    See Also
    --------
    featx.extract : Embed many images into a cache.
    featx.close_engines : Release threads and memory that are kept for the next call.

    Examples
    --------
    >>> X = featx.embed(["ant.jpg", "bee.jpg"], backbone="mini")
    >>> X.shape
    (2, 768)
    """
    check_choice("decode", decode, Decode, error=DecodeError)
    options = RunOptions(**run)
    options.check_precision(precision)
    with show_progress(options.progress):
        entries = read_images(images)  # before any weights are downloaded
        loaded = resolve_backbone(
            backbone, weights=weights, layers=[layer], size=size, load=load_named
        )
        with open_for_call(
            loaded,
            options,
            precision=precision,
            decode=decode,
            n_images=operator.length_hint(entries),
            is_kept=loaded is backbone or is_named(loaded),
        ) as session:
            return session.embed_entries(entries)
