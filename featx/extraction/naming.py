"""Names of embeddings in a cache."""

from __future__ import annotations

from collections.abc import Iterable

from featx.backbones.spec import PENULTIMATE
from featx.cache.format import check_embedding_names


def name_embedding(name: str, layer: str) -> str:
    """Name the embedding of one layer.

    Parameters
    ----------
    name : str
        Name of the backbone, or the name that the caller chose.
    layer : str
        Name of the layer.

    Examples
    --------
    >>> name_embedding("resnet50", "penultimate"), name_embedding("resnet50", "layer3")
    ('resnet50', 'resnet50@layer3')
    """
    return name if layer == PENULTIMATE else f"{name}@{layer}"


def name_embeddings(name: str, layers: Iterable[str]) -> tuple[str, ...]:
    """Name the embeddings of several layers.

    Raises
    ------
    CacheError
        If a name has characters that HDF5 would take for a path.
    """
    names = tuple(name_embedding(name, layer) for layer in layers)
    check_embedding_names(names)
    return names
