"""Explain images in one call."""

from __future__ import annotations

from typing import Any

from featx.core.recognise import check_order
from featx.core.typing import Approximation, Count
from featx.explanation.choice import Classes
from featx.explanation.class_map import ClassMap
from featx.explanation.explainer import Explainer
from featx.fitting.inputs import HeadLike
from featx.images.sources.inputs import read_images


def explain(  # noqa: PLR0913
    head: HeadLike,
    images: Any,
    classes: Classes = None,
    *,
    top: int = 1,
    weights: str | None = None,
    approximation: Approximation | None = None,
    device: str = "auto",
    batch_size: Count = "auto",
    workers: Count = "auto",
    progress: bool | None = None,
) -> list[ClassMap]:
    """Show where in images the evidence for a class lies.

    For a network whose embedding is the average of feature maps, and a linear head, a map is exact:
    its mean plus its bias is the logit. Other networks are refused, or approximated on request.

    Parameters
    ----------
    head : path or Head
        The head, or its path; a linear one.
    images : path, open file, bytes, PIL image, array, or iterable of these
        Images as `featx.embed` takes them.
    classes : sequence of str, or sequence of sequence of str, optional
        Classes to show for every image, or those of each image. Default: the most probable ones.
    top : int
        Number of most probable classes to show, if no classes are given.
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the head records.
    approximation : {"grad-cam"}, optional
        Approximation to compute in place of exact maps: Grad-CAM (Selvaraju et al. 2017). Default:
        exact maps only.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}
        Device that runs the network, with PyTorch in float32.
    batch_size : int or "auto"
        Number of images that go through the network at a time.
    workers : int or "auto"
        Number of threads that read and decode images.
    progress : bool, optional
        True to show progress on standard error, False to hide it.

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
        If the head cannot be read, is not linear, reads several embeddings, or lacks a class.
    BackboneError
        If the network does not end in an average, and no approximation was asked for.
    FingerprintError
        If the weights differ from those of the head, or another program computed its embeddings.
    SourceError, WeightsError, DeviceError
        If images, weights or device are missing or unusable.

    See Also
    --------
    featx.Explainer : Keep the network open for many calls.
    featx.predict : Predict classes alone.

    Examples
    --------
    >>> maps = featx.explain("head.joblib", ["ant.jpg", "bee.jpg"], progress=False)
    >>> [(one.path, one.label) for one in maps]
    [('ant.jpg', 'ants'), ('bee.jpg', 'bees')]
    """
    check_inputs(head, images)
    entries = read_images(images)  # before any weights are downloaded
    with Explainer(
        head,
        weights=weights,
        approximation=approximation,
        device=device,
        batch_size=batch_size,
        workers=workers,
        progress=progress,
    ) as explainer:
        return list(explainer.iter_entries(entries, classes, top=top))


def check_inputs(head: HeadLike, images: Any) -> None:
    """Refuse a head and images of which each stands in the place of the other.

    Parameters
    ----------
    head : path or Head
        Head.
    images : path, open file, bytes, PIL image, array, or iterable of these
        Images.

    Raises
    ------
    FeatxError
        If the head stands among the images. The remedy is the right call.
    """
    check_order(
        ("head", "images"),
        (head, images),
        content="head",
        call="featx.explain({held!r}, {rest!r})",
    )
