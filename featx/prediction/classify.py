"""The answers of a pretrained network's own classifier: the classes it was trained on."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from featx.backbones.backbone import Backbone
from featx.backbones.classes import OwnClasses, find_own_classes
from featx.backbones.spec import LOGITS, PENULTIMATE
from featx.core.errors import BackboneError, DecodeError
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.rows import Row
from featx.core.typing import Array, Decode, Precision, check_choice
from featx.embedding.identity import build_fingerprint, resolve_backbone
from featx.embedding.named import is_named, load_named
from featx.embedding.options import RunKeywords, RunOptions
from featx.embedding.session import open_for_call
from featx.heads.side_by_side import HeadEmbedding
from featx.images.sources.inputs import read_images
from featx.prediction.answerer import N_DIGITS, Answer
from featx.prediction.answers import AnswerOptions, Prediction
from featx.prediction.networks import HeadNetwork
from featx.prediction.predictor import iter_noted, iter_predicted


def classify(
    images: Any,
    *,
    backbone: str | Backbone = "resnet50",
    weights: str = "DEFAULT",
    top: int = 5,
    size: int | None = None,
    precision: Precision = "fp32",
    decode: Decode = "exact",
    **run: Unpack[RunKeywords],
) -> list[Prediction]:
    """Say what a pretrained network itself takes images for: its own classes, not yours.

    The classes are those that the weights were trained on, such as the 1,000 of ImageNet. The
    probabilities of an image sum to 1 over these classes, whatever the image shows.

    Parameters
    ----------
    images : path, open file, bytes, PIL image, array, or iterable of these
        Images as `featx.embed` takes them.
    backbone : str or Backbone
        A name from `featx.list_backbones`, or the return value of ``featx.load_backbone(name,
        layers=["logits"])``.
    weights : str
        ``DEFAULT``, a name, or a file that holds the classifier too; for a backbone given by name
        only.
    top : int
        Number of classes per image.
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
    list of Prediction
        Predictions in the order of the images: classes and probabilities in `top`. An image that
        cannot be read has an `error`.

    Warns
    -----
    FeatxWarning
        If an image has no prediction, or a file does not name its classes. If such a file has as
        many outputs as the published weights, the classes of these are assumed; if it has another
        number, the classes are called by their numbers: ``class 0``.

    Raises
    ------
    BackboneError
        If the backbone is one of the user, whose classes featx does not know, or was loaded with
        another layer than ``logits``.
    WeightsError
        If the weights have no classifier, are random, or cannot be found or read.
    SourceError, DeviceError
        If images or device are missing or unusable.

    See Also
    --------
    featx.predict : Predict your own classes, with a head.
    featx.embed : Embed images; with ``layer="logits"``, the outputs of the classifier.

    Examples
    --------
    >>> found = featx.classify("ant.jpg", backbone="mini", top=3, progress=False)
    >>> len(found[0].top)
    3
    """
    check_choice("decode", decode, Decode, error=DecodeError)
    asked, options = AnswerOptions(top=top), RunOptions(**run)
    options.check_precision(precision)
    with show_progress(options.progress):
        entries = read_images(images)
        if isinstance(backbone, str):
            own = find_own_classes(backbone, weights)  # before any weights are downloaded
            layers: Sequence[str] = (LOGITS,)
        else:
            _check_logits(backbone)
            own = find_own_classes(backbone.name, backbone.origin.weights)
            layers = (PENULTIMATE,)  # stands for no choice
        loaded = resolve_backbone(
            backbone, weights=weights, layers=layers, size=size, load=load_named
        )
        _note_assumed(own, loaded)
        fingerprint = build_fingerprint(loaded, LOGITS, precision=precision, decode=decode)
        embedding = HeadEmbedding(name=loaded.name, fingerprint=fingerprint, origin=loaded.origin)
        network = HeadNetwork(embeddings=(embedding,), positions=(0,))
        answerer = _OwnAnswerer(own.name_outputs(fingerprint.dim), asked.top)
        with open_for_call(
            loaded,
            options,
            precision=precision,
            decode=decode,
            n_images=operator.length_hint(entries),
            is_kept=loaded is backbone or is_named(loaded),
        ) as session:
            return [*iter_noted(iter_predicted(answerer, [network], [session], entries))]


def _check_logits(backbone: Backbone) -> None:
    if backbone.layers != (LOGITS,):
        raise BackboneError(
            subject=backbone.name,
            expected=f"a backbone with the layer {LOGITS!r}",
            got=", ".join(backbone.layers),
            remedy=f"Load it with featx.load_backbone({backbone.name!r}, layers=[{LOGITS!r}]).",
        )


def _note_assumed(own: OwnClasses, backbone: Backbone) -> None:
    """Tell the user if the names of the classes are not those of the weights."""
    n_outputs = backbone.dims[LOGITS]
    if len(own.names) != n_outputs:
        note(
            f"{backbone.origin.weights}: the file does not name its classes; its {n_outputs:,} "
            "outputs are numbered from 0"
        )
    elif own.assumed_from:
        note(
            f"{backbone.origin.weights}: the file does not name its classes; its {n_outputs:,} "
            f"outputs are taken for those of {own.assumed_from}"
        )


class _OwnAnswerer:
    """A network's own classifier, which answers by its logits.

    Parameters
    ----------
    names : sequence of str
        Names of the classes.
    top : int
        Number of classes per image.
    """

    def __init__(self, names: Sequence[str], top: int) -> None:
        self._names, self._top = names, top

    def answer(self, X: Array) -> list[Answer]:
        """Answer for the logits ``(n_rows, n_classes)`` of images."""
        shifted = X.astype(np.float64) - X.max(axis=1, keepdims=True, initial=-np.inf)
        exponentials = np.exp(shifted)
        scores = np.round(exponentials / exponentials.sum(axis=1, keepdims=True), N_DIGITS)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._top]
        return [
            Answer(top=tuple((self._names[code], float(line[code])) for code in codes))
            for line, codes in zip(scores, order, strict=True)
        ]

    def describe(self, row: Row, answer: Answer) -> Prediction:
        """Put together what the source says of an image and what the network says."""
        label, score = answer.top[0]
        return Prediction(
            path=row.path,
            id=row.id,
            label=label,
            score=score,
            top=answer.top,
            true_label=row.label,
            split=row.split,
        )
