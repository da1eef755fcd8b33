"""Run the network for an extraction: in this process, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from featx.backbones.backbone import Backbone
from featx.core.lookup import SeenDigests
from featx.core.typing import Decode, VectorDtype
from featx.embedding.batching import EmbeddedBatch
from featx.embedding.loop import iter_embedded
from featx.embedding.options import RunOptions
from featx.embedding.timings import Timings
from featx.engines.engine import Engine
from featx.engines.info import EngineInfo, describe_engine
from featx.extraction.ray_connect import ClusterRequest
from featx.extraction.settings import Settings
from featx.images.entries import Entry


class Runner(Protocol):
    """Something that embeds images with one backbone.

    Attributes
    ----------
    engine : EngineInfo
        Description of the engine, for the provenance.
    """

    engine: EngineInfo

    def iter_embedded(
        self,
        entries: Sequence[Entry],
        *,
        skip_digests: SeenDigests,
        dtype: VectorDtype,
        decode: Decode,
        timings: Timings,
    ) -> Generator[EmbeddedBatch, None, object]:
        """Embed images; see `featx.embedding.loop.iter_embedded`.

        Parameters
        ----------
        entries : sequence of Entry
            The images.
        skip_digests : SeenDigests
            Digests of contents that are not embedded; each digest that is embedded is added.
        dtype : {"float32", "float16"}
            Dtype of the vectors.
        decode : {"exact", "fast"}
            Way to decode images.
        timings : Timings
            Record of the seconds of each phase.
        """


class LocalRunner:
    """Run the network in this process.

    Parameters
    ----------
    backbone : Backbone
        The network.
    engine : Engine
        The engine that runs the network.
    options : RunOptions
        Options of the run.
    """

    def __init__(self, backbone: Backbone, engine: Engine, options: RunOptions) -> None:
        self._backbone, self._engine, self._options = backbone, engine, options
        self.engine = describe_engine(engine)

    def iter_embedded(
        self,
        entries: Sequence[Entry],
        *,
        skip_digests: SeenDigests,
        dtype: VectorDtype,
        decode: Decode,
        timings: Timings,
    ) -> Generator[EmbeddedBatch, None, object]:
        """Embed images in their order; see `Runner`."""
        return iter_embedded(
            entries,
            self._backbone,
            self._engine,
            self._options,
            skip_digests=skip_digests,
            dtype=dtype,
            decode=decode,
            timings=timings,
        )


@contextmanager
def open_runner(
    cluster: ClusterRequest | None,
    backbone: Backbone,
    options: RunOptions,
    *,
    settings: Settings,
    n_images: int,
) -> Iterator[Runner]:
    """Build the engine here, or connect to a cluster whose actors build it.

    Parameters
    ----------
    cluster : ClusterRequest or None
        The cluster; None for this process.
    backbone : Backbone
        The network.
    options : RunOptions
        Options of the run.
    settings : Settings
        Settings of the extraction, which hold the precision.
    n_images : int
        Number of images to expect.

    Yields
    ------
    Runner
        The runner, until the end of the block.
    """
    if cluster is None:
        with options.build_engine(backbone, settings.precision, n_images=n_images) as engine:
            yield LocalRunner(backbone, engine, options)
        return
    from featx.extraction.ray import open_ray_runner  # imports torch: not for a no-op

    with open_ray_runner(
        cluster, backbone, options, precision=settings.precision, n_images=n_images
    ) as runner:
        yield runner
