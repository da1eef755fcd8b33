"""The identity of embeddings: build fingerprints, and load the backbone that belongs to one."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import socket
from collections.abc import Callable, Sequence

from featx.backbones.backbone import Backbone
from featx.backbones.fetch import find_moved
from featx.backbones.load import load_backbone
from featx.backbones.spec import PENULTIMATE
from featx.core.errors import BackboneError, FingerprintError, WeightsError
from featx.core.fingerprint import Fingerprint, check_comparable
from featx.core.provenance import Origin, Provenance
from featx.core.typing import Decode, Precision
from featx.engines.info import EngineInfo
from featx.images.decode import DECODERS

VERSIONED = ("featx", "torch", "torchvision", "pillow", "numpy", "h5py")
"""Packages whose versions the provenance names."""


def resolve_backbone(
    backbone: str | Backbone,
    *,
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
    size: int | None = None,
    load: Callable[..., Backbone] = load_backbone,
) -> Backbone:
    """Load a backbone that is given by name; return a loaded backbone as it is.

    Parameters
    ----------
    backbone : str or Backbone
        The backbone, or its name.
    weights, layers, preprocess, size
        Options of `featx.load_backbone`, for a backbone given by name only.
    load : callable
        Function that loads a backbone by name, as `featx.load_backbone` does.

    Raises
    ------
    BackboneError
        If options are given beside a loaded backbone, which cannot be changed.
    """
    if isinstance(backbone, str):
        return load(backbone, weights=weights, layers=layers, preprocess=preprocess, size=size)
    if (weights, tuple(layers), preprocess, size) != ("DEFAULT", (PENULTIMATE,), None, None):
        raise BackboneError(
            subject=backbone.name,
            expected="no weights, layers, preprocess or size beside a loaded backbone",
            got="some",
            remedy="Pass them to featx.load_backbone.",
        )
    return backbone


def restore_backbone(
    fingerprint: Fingerprint,
    origin: Origin,
    *,
    subject: str,
    weights: str | None = None,
    load: Callable[..., Backbone] = load_backbone,
    others: Sequence[Fingerprint] = (),
) -> Backbone:
    """Load the backbone that embeddings were made with.

    Parameters
    ----------
    fingerprint : Fingerprint
        Identity of the embeddings.
    origin : Origin
        Record of how their backbone was loaded.
    subject : str
        Name of the file that the embeddings belong to, for errors.
    weights : str, optional
        Current path or name of the weights. Default: the weights that `origin` records, or the file
        of the same name in the folder FEATX_WEIGHTS_DIR if they are no longer there.
    load : callable
        Function that loads a backbone by name, as `featx.load_backbone` does.
    others : sequence of Fingerprint
        Identities of the embeddings of further layers of the same backbone.

    Raises
    ------
    FingerprintError
        If another program computed the embeddings, the weights have another content, or this
        version of featx does not know the decoder.
    WeightsError
        If the weights are missing.
    """
    check_computable(fingerprint, subject=subject)
    decode = find_decode(fingerprint)  # before any weights are downloaded
    moved = None if weights is not None else find_moved(origin.weights)
    try:
        backbone = load(
            fingerprint.backbone,
            weights=weights or moved or origin.weights,
            layers=[one.layer for one in (fingerprint, *others)],
            preprocess=origin.preprocess_from,
            size=origin.size,
        )
    except WeightsError as error:
        if weights is not None:
            raise
        raise WeightsError(
            subject=error.subject,
            expected=error.expected,
            got=error.got,
            remedy=f"{error.remedy} Or pass weights=FILE with the weights of {subject}.",
        ) from error
    for one in (fingerprint, *others):
        check_comparable(
            one,
            build_fingerprint(backbone, one.layer, precision=one.precision, decode=decode),
            subject=f"backbone {one.backbone} for {subject}"
            + (f", weights {moved}" if moved else ""),
            remedy=f"Pass weights=FILE with the weights that the embeddings of {subject} were made "
            "with.",
        )
    return backbone


def check_computable(fingerprint: Fingerprint, *, subject: str) -> None:
    """Refuse the identity of embeddings whose network featx does not have.

    Parameters
    ----------
    fingerprint : Fingerprint
        Identity of the embeddings.
    subject : str
        Name of the file that the embeddings belong to, for the error.

    Raises
    ------
    FingerprintError
        If another program computed the embeddings.
    """
    if fingerprint.is_imported:
        raise FingerprintError(
            subject=subject,
            expected="embeddings that featx can compute",
            got=fingerprint.describe(),
            remedy="Compute the vectors of these images there, too, make a cache of them with "
            "featx.import_embeddings(vectors, output=path), and pass that cache.",
        )


def build_fingerprint(
    backbone: Backbone, layer: str, *, precision: Precision, decode: Decode = "exact"
) -> Fingerprint:
    """Build the fingerprint of the embeddings that a backbone makes.

    Parameters
    ----------
    backbone : Backbone
        The network with its preprocessing.
    layer : str
        Name of the layer that is read.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    decode : {"exact", "fast"}
        Way to decode images.
    """
    return Fingerprint(
        backbone=backbone.name,
        weights_digest=backbone.weights_digest,
        layer=layer,
        preprocess=backbone.preprocess.identify(),
        decoder=DECODERS[decode],
        precision=precision,
        dim=backbone.dims[layer],
    )


def build_provenance(backbone: Backbone, engine: EngineInfo, source: str) -> Provenance:
    """Describe who computes an embedding, when and how.

    Parameters
    ----------
    backbone : Backbone
        The network.
    engine : EngineInfo
        The engine that runs it.
    source : str
        Name of the images.
    """
    now = datetime.datetime.now(datetime.UTC)
    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    return Provenance(
        origin=backbone.origin,
        engine=engine.name,
        device=engine.device,
        batch_size=engine.batch_size,
        source=source,
        time=now.isoformat(timespec="milliseconds"),
        host=socket.gethostname(),
        platform=platform.platform(),
        versions=versions | dict(engine.versions),
    )


def find_decode(fingerprint: Fingerprint) -> Decode:
    """Find the way in which the images of an embedding were decoded.

    Raises
    ------
    FingerprintError
        If this version of featx does not know the decoder.
    """
    for name, decoder in DECODERS.items():
        if decoder == fingerprint.decoder:
            return name
    raise FingerprintError(
        subject="decoder",
        expected=" or ".join(DECODERS.values()),
        got=fingerprint.decoder,
        remedy="Install the featx that made these embeddings, or extract again.",
    )
