"""Which network, and what makes its embeddings comparable; a few images for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Unpack

import numpy as np

from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.backbones.spec import PENULTIMATE
from featx.core.errors import BackboneError, DecodeError, FingerprintError, WeightsError
from featx.core.fingerprint import Fingerprint, check_comparable
from featx.core.provenance import Origin
from featx.core.typing import Decode, Precision, check_choice
from featx.embedding.loop import iter_embedded
from featx.embedding.options import RunKeywords, RunOptions
from featx.images.decode import DECODERS
from featx.images.sources.read import list_entries

Array = np.ndarray[Any, Any]


def resolve_backbone(
    backbone: str | Backbone,
    *,
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
    size: int | None = None,
) -> Backbone:
    """Load a backbone given by its name; take one that is loaded as it is.

    Raises
    ------
    BackboneError
        If one that is loaded comes with options that it could not follow.
    """
    if isinstance(backbone, str):
        return load_backbone(
            backbone, weights=weights, layers=layers, preprocess=preprocess, size=size
        )
    if (weights, tuple(layers), preprocess, size) != ("DEFAULT", (PENULTIMATE,), None, None):
        raise BackboneError(
            f"{backbone.name}: expected no weights, layers, preprocess or size beside a loaded "
            "backbone, got some. Pass them to featx.load_backbone."
        )
    return backbone


def restore_backbone(
    fingerprint: Fingerprint,
    origin: Origin,
    *,
    subject: str,
    weights: str | None = None,
) -> Backbone:
    """Load the backbone that embeddings were made with.

    Parameters
    ----------
    fingerprint : Fingerprint
    origin : Origin
        How to load their backbone.
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
            weights=weights or origin.weights,
            layers=[fingerprint.layer],
            preprocess=origin.preprocess_from,
            size=origin.size,
        )
    except WeightsError as error:
        if weights is not None:
            raise
        raise WeightsError(
            f"{error} Or say where the weights of {subject} are now: --weights."
        ) from error
    check_comparable(
        fingerprint,
        build_fingerprint(
            backbone,
            fingerprint.layer,
            precision=fingerprint.precision,
            decode=find_decode(fingerprint),
        ),
        subject=f"backbone {fingerprint.backbone} for {subject}",
        remedy=f"Pass --weights with the file that the embeddings of {subject} were made with.",
    )
    return backbone


def build_fingerprint(
    backbone: Backbone, layer: str, *, precision: Precision, decode: Decode = "exact"
) -> Fingerprint:
    """Say what makes embeddings of this backbone comparable."""
    return Fingerprint(
        backbone=backbone.name,
        weights_digest=backbone.weights_digest,
        layer=layer,
        preprocess=backbone.preprocess.identify(),
        decoder=DECODERS[decode],
        precision=precision,
        dim=backbone.dims[layer],
    )


def find_decode(fingerprint: Fingerprint) -> Decode:
    """Tell how images were decoded: ``exact`` or ``fast``."""
    for name, decoder in DECODERS.items():
        if decoder == fingerprint.decoder:
            return name
    raise FingerprintError(
        subject="decoder",
        expected=" or ".join(DECODERS.values()),
        got=fingerprint.decoder,
        remedy="Install the featx that made these embeddings, or extract again.",
    )


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
) -> Array:
    """Embed a few images, for a notebook.

    Parameters
    ----------
    images : path, PIL image, array, or sequence of these
        A path may be an image, a folder, a table or a tar. An array is uint8 of shape
        ``(height, width, 3)``, or ``(height, width)`` for gray.
    backbone : str or Backbone
        A name, or what `featx.load_backbone` returned.
    weights, layer, size
        As `featx.load_backbone` takes them; for a name only.
    precision, decode : str
        As `featx.extract` takes them.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

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
    >>> X = featx.embed(["ant.jpg", "bee.jpg"], backbone="mini")
    >>> X.shape
    (2, 768)
    """
    check_choice("decode", decode, Decode, error=DecodeError)
    options = RunOptions(**run)
    options.check_precision(precision)
    backbone = resolve_backbone(backbone, weights=weights, layers=[layer], size=size)
    if len(backbone.layers) > 1:
        raise BackboneError(
            f"{backbone.name}: expected one layer to embed, got {', '.join(backbone.layers)}. "
            "Load it with one, or use featx.extract."
        )
    entries = list_entries(images)
    runs = options.build_engine(backbone, precision, n_images=len(entries))
    parts = [np.empty((0, backbone.dims[backbone.layers[0]]), np.float32)]
    with closing(iter_embedded(entries, backbone, runs, options, decode=decode)) as batches:
        for batch in batches:
            if batch.failures:
                failure = batch.failures[0]
                raise DecodeError(
                    subject=failure.path,
                    expected="an image that can be embedded",
                    got=f"a {failure.stage} failure ({failure.reason})",
                    remedy="Leave the image out, or use featx.extract, which records failures and "
                    "goes on.",
                )
            parts.append(batch.vectors[backbone.layers[0]])
    return np.concatenate(parts)
