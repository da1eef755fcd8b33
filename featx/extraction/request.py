"""The request of a caller, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.backbones.backbone import Backbone
from featx.core.errors import CacheError, DecodeError
from featx.core.files import check_destination
from featx.core.typing import Decode, PathLike, Precision, VectorDtype, check_choice
from featx.embedding.options import RunOptions
from featx.extraction.checks import count_allowed
from featx.images.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class ExtractionRequest:
    """The arguments of `featx.extract`, which describes them.

    Raises
    ------
    FeatxError
        If an argument is out of its range, or the output cannot be written.
    """

    source: PathLike | Sequence[PathLike] | Manifest
    output: Path
    backbone: str | Backbone
    weights: str
    layers: Sequence[str]
    preprocess: str | None
    size: int | None
    embedding: str | None
    dtype: VectorDtype | None
    precision: Precision
    decode: Decode
    overwrite: bool
    prune: bool
    rehash: bool
    retry_failed: bool
    max_failures: int | str
    break_lock: bool
    shard_seconds: float
    run: RunOptions

    def __post_init__(self) -> None:
        if self.dtype is not None:
            check_choice("dtype", self.dtype, VectorDtype, error=CacheError)
        check_choice("decode", self.decode, Decode, error=DecodeError)
        check_destination(self.output, overwrite=True, error=CacheError)
        count_allowed(self.max_failures, 1)
        self.run.check_precision(self.precision)
