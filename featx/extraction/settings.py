"""Settings of an extraction: given by the caller, or else those of the output, or else defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from featx.backbones.backbone import Backbone
from featx.backbones.spec import PENULTIMATE
from featx.backbones.weights import resolve_weights
from featx.cache.format import EmbeddingInfo
from featx.cache.index import WorkPlan
from featx.cache.reader import Cache
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Origin, Provenance
from featx.core.typing import Decode, PathLike, Precision, VectorDtype
from featx.embedding.identity import find_decode

DEFAULT_BACKBONE = "resnet50"
DEFAULT_WEIGHTS = "DEFAULT"


@dataclass(frozen=True, kw_only=True)
class GivenSettings:
    """The settings that a caller of `featx.extract` gives; None for each one that is left out."""

    backbone: str | Backbone | None = None
    weights: str | None = None
    layers: Sequence[str] | None = None
    preprocess: str | None = None
    size: int | None = None
    embedding: str | None = None
    dtype: VectorDtype | None = None
    precision: Precision | None = None
    decode: Decode | None = None


@dataclass(frozen=True, kw_only=True)
class StoredSettings:
    """The settings of embeddings in an output that differ in their layers only.

    Attributes
    ----------
    embedding : str
        Name of the embedding of the penultimate layer, which the names of other layers begin with.
    layers : tuple of str
        Layers that the output holds.
    fingerprint : Fingerprint
        Identity of one of the embeddings.
    origin : Origin
        Record of how their backbone was loaded.
    dtype : {"float32", "float16"}
        Dtype of the stored vectors.
    """

    embedding: str
    layers: tuple[str, ...]
    fingerprint: Fingerprint
    origin: Origin
    dtype: VectorDtype


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one extraction.

    Attributes
    ----------
    backbone : str or Backbone
        The network, or its name.
    weights, layers, preprocess, size
        Options of `featx.load_backbone`.
    embedding : str
        Name of the embedding of the penultimate layer.
    dtype : {"float32", "float16"} or None
        Dtype of the vectors that the caller asks for; None for that of the output.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    decode : {"exact", "fast"}
        Way to decode images.
    preprocess_from : str or None
        Name of the weights whose preprocessing the output records; None if the preprocessing is
        the one that belongs to the weights, or was given.
    kept : mapping of str to object
        Settings of the output that replace a default, by their names.
    kept_from : str
        Name of the embedding that they come from.
    others : tuple of str
        Names of other embeddings of the output, if the caller did not say which one to extend.
    """

    backbone: str | Backbone
    weights: str
    layers: tuple[str, ...]
    preprocess: str | None
    size: int | None
    embedding: str
    dtype: VectorDtype | None
    precision: Precision
    decode: Decode
    preprocess_from: str | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)
    kept_from: str = ""
    others: tuple[str, ...] = ()

    @property
    def has_kept_weights(self) -> bool:
        """Whether the weights are those that the output names."""
        return "weights" in self.kept

    def describe_kept(self, output: PathLike) -> str:
        """Say in one line which settings come from the output; empty if there are none."""
        if not self.kept and not self.others:
            return ""
        words = [
            f"{name} {' and '.join(value) if isinstance(value, tuple) else value}"
            for name, value in self.kept.items()
        ]
        text = f"{output}: {', '.join(words) or 'settings'} as in its embedding"
        if not self.others:
            return f"{text} {self.kept_from}."
        return (
            f"{text} {self.kept_from}, which was extended last. Pass embedding=NAME for "
            f"{' or '.join(self.others)}."
        )


def list_stored_settings(base: Cache | None, plan: WorkPlan | None) -> list[StoredSettings]:
    """List the settings of the embeddings in an output; those that were extended last come last.

    Parameters
    ----------
    base : Cache or None
        The existing cache.
    plan : WorkPlan or None
        Plan of unfinished work. It comes last, because this work must be finished first.
    """
    found: list[tuple[EmbeddingInfo, VectorDtype]] = []
    if base is not None:
        found = [(base.get_info(name), base.get_dtype(name)) for name in base.embeddings]
        found.sort(key=lambda pair: _get_last_time(pair[0].provenance))
    stored = [
        (info.name, info.fingerprint, info.provenance.origin, dtype, info.provenance.batch_size)
        for info, dtype in found
    ]
    if plan is not None and plan.origin is not None:
        stored += [
            (name, fingerprint, plan.origin, plan.dtype, plan.batch_size)
            for name, fingerprint in plan.embeddings.items()
        ]
    return _join_layers(stored)


def _get_last_time(provenance: Provenance) -> str:
    """Return the start of the last run that added vectors."""
    return max([provenance.time, *(update.time for update in provenance.updates)])


def _join_layers(
    stored: Iterable[tuple[str, Fingerprint, Origin, VectorDtype, int]],
) -> list[StoredSettings]:
    """Join embeddings of one name and the same settings, which one run can extend together."""
    joined: dict[object, StoredSettings] = {}
    for full_name, fingerprint, origin, dtype, batch_size in stored:
        layer = fingerprint.layer
        name = full_name if layer == PENULTIMATE else full_name.removesuffix(f"@{layer}")
        key = name, replace(fingerprint, layer="", dim=0).to_json(), dtype, batch_size
        before = joined.pop(key, None)
        layers = () if before is None else before.layers
        joined[key] = StoredSettings(
            embedding=name,
            layers=tuple(dict.fromkeys((*layers, layer))),
            fingerprint=fingerprint,
            origin=origin,
            dtype=dtype,
        )
    return list(joined.values())


def choose_settings(given: GivenSettings, stored: Sequence[StoredSettings]) -> Settings:
    """Choose the settings of an extraction.

    A setting that is given counts. One that is left out is kept from the embedding of the output
    that is extended: the one that `embedding` names, or else the one that bears the name of
    `backbone`, or else the one that was extended last. Without such an embedding, defaults count.
    Preprocessing and size belong to the weights: they are not kept beside other weights.

    Parameters
    ----------
    given : GivenSettings
        Settings of the caller.
    stored : sequence of StoredSettings
        Settings of the output, those that were extended last at the end.
    """
    kept = _find_kept(given, stored)
    embedding = _get_name(given.backbone) if given.embedding is None else given.embedding
    plain = Settings(
        backbone=given.backbone or DEFAULT_BACKBONE,
        weights=given.weights or DEFAULT_WEIGHTS,
        layers=tuple(given.layers or (PENULTIMATE,)),
        preprocess=given.preprocess,
        size=given.size,
        embedding=(kept.embedding if kept else DEFAULT_BACKBONE)
        if embedding is None
        else embedding,
        dtype=given.dtype,
        precision=given.precision or "fp32",
        decode=given.decode or "exact",
    )
    if kept is None:
        return plain
    chosen = replace(
        plain,
        dtype=given.dtype or kept.dtype,
        precision=given.precision or kept.fingerprint.precision,
        decode=given.decode or find_decode(kept.fingerprint),
    )
    if not isinstance(given.backbone, Backbone):
        chosen = _keep_network(given, kept, chosen)
    others = [one.embedding for one in stored if one.embedding != kept.embedding]
    return replace(
        chosen,
        kept=_list_kept(plain, chosen),
        kept_from=kept.embedding,
        others=tuple(dict.fromkeys(others)) if embedding is None else (),
    )


def _get_name(backbone: str | Backbone | None) -> str | None:
    return backbone.name if isinstance(backbone, Backbone) else backbone


def _find_kept(given: GivenSettings, stored: Sequence[StoredSettings]) -> StoredSettings | None:
    """Find the settings to keep: those of the embedding that is extended."""
    backbone = _get_name(given.backbone)
    wanted = backbone if given.embedding is None else given.embedding
    found = [one for one in stored if wanted in (None, one.embedding)]
    if not found and backbone is None:  # a new embedding of the same network
        found = list(stored)
    layers = set(given.layers or ())
    found = [one for one in found if layers.intersection(one.layers)] or found
    if not found or backbone not in (None, found[-1].fingerprint.backbone):
        return None
    return found[-1]


def _keep_network(given: GivenSettings, kept: StoredSettings, chosen: Settings) -> Settings:
    """Keep backbone, layers and weights, and what belongs to the weights."""
    chosen = replace(
        chosen,
        backbone=given.backbone or kept.fingerprint.backbone,
        layers=tuple(given.layers or kept.layers),
    )
    weights = kept.origin.weights
    if given.weights not in (None, weights) and resolve_weights(given.weights) != weights:
        return chosen
    return replace(
        chosen,
        weights=weights,
        size=kept.origin.size if given.size is None else given.size,
        preprocess_from=kept.origin.preprocess_from if given.preprocess is None else None,
    )


def _list_kept(plain: Settings, chosen: Settings) -> dict[str, Any]:
    """List the settings that the output changed."""
    names = ("backbone", "weights", "layers", "size", "dtype", "precision", "decode")
    values = {name: getattr(chosen, name) for name in names}
    return {
        name: value
        for name, value in values.items()
        if value != getattr(plain, name) and (name, value) != ("dtype", "float32")
    }
