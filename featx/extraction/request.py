"""The request of a caller, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.core.errors import CacheError, DecodeError
from featx.core.files import check_destination
from featx.core.parts import Part
from featx.core.typing import Decode, PathLike, VectorDtype, check_choice
from featx.embedding.options import RunOptions
from featx.extraction.checks import count_allowed
from featx.extraction.parts import prepare_folder
from featx.extraction.ray_connect import ClusterRequest
from featx.extraction.settings import GivenSettings
from featx.images.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class ExtractionRequest:
    """The arguments of `featx.extract`, which describes them.

    The output is the path of a cache in any case: that of the part, if a part is asked for.

    Raises
    ------
    FeatxError
        If an argument is out of its range, or the output cannot be written.
    """

    source: PathLike | Sequence[PathLike] | Manifest
    output: Path
    part: Part | None
    given: GivenSettings
    overwrite: bool
    prune: bool
    rehash: bool
    retry_failed: bool
    max_failures: int | str
    break_lock: bool
    shard_seconds: float
    cluster: ClusterRequest | None
    run: RunOptions

    def __post_init__(self) -> None:
        given = self.given
        if given.dtype is not None:
            check_choice("dtype", given.dtype, VectorDtype, error=CacheError)
        if given.decode is not None:
            check_choice("decode", given.decode, Decode, error=DecodeError)
        count_allowed(self.max_failures, 1)
        if given.precision is not None and self.cluster is None:
            self.run.check_precision(given.precision)
        if self.part is not None:
            prepare_folder(self.output)
        check_destination(self.output, overwrite=True, error=CacheError)
