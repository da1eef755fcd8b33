"""The part of a cluster run that runs on the machines of the cluster: embed blocks of images."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import pickle
import platform
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from featx.backbones.backbone import Backbone
from featx.backbones.embedder import FrozenNetwork
from featx.core.errors import DeviceError, FeatxError, require
from featx.core.lookup import SeenDigests
from featx.core.typing import Decode, EngineName, Precision, VectorDtype
from featx.embedding.batching import EmbeddedBatch
from featx.embedding.decoding import DepthTally
from featx.embedding.loop import iter_embedded
from featx.embedding.options import RunOptions
from featx.embedding.timings import Timings
from featx.engines.engine import Engine, EngineBuilder
from featx.engines.info import EngineInfo, describe_engine
from featx.engines.limits import find_limit
from featx.images.entries import Entry


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that an actor needs to build its engine.

    Attributes
    ----------
    backbone : Backbone
        The network, as `pack_backbone` makes it.
    engine : {"auto", "torch", "openvino"} or EngineBuilder
        Library that runs the network.
    device : str
        Device that runs the network.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    batch_size : int or "auto"
        Number of images per batch.
    n_cores : int
        Number of cores of each actor.
    n_images : int
        Number of images that an actor may expect.
    folder : str
        Working folder of the driver, which relative paths begin at.
    """

    backbone: Backbone
    engine: EngineName | EngineBuilder
    device: str
    precision: Precision
    batch_size: int | str
    n_cores: int
    n_images: int
    folder: str

    def build_engine(self) -> tuple[RunOptions, Engine]:
        """Build the engine in this process, on the cores and in the folder of the job."""
        os.environ["LOKY_MAX_CPU_COUNT"] = str(self.n_cores)  # the count that featx goes by
        with suppress(OSError):  # a folder of the driver's machine alone
            os.chdir(self.folder)
        options = RunOptions(
            engine=self.engine,
            device=self.device,
            batch_size=self.batch_size,  # type: ignore[arg-type]
            progress=False,
        )
        return options, options.build_engine(self.backbone, self.precision, n_images=self.n_images)


def pack_backbone(backbone: Backbone, dumps: Callable[[FrozenNetwork], bytes]) -> Backbone:
    """Return a backbone that pickles with its network.

    The network is unpickled on its first use: an actor that finds the converted network on its
    disk needs no PyTorch.

    Parameters
    ----------
    backbone : Backbone
        The backbone.
    dumps : callable
        Function that pickles the network.
    """
    return replace(backbone, load_module=functools.partial(_unpack, dumps(backbone.module)))


def _unpack(module: bytes) -> FrozenNetwork:
    unpacked: FrozenNetwork = pickle.loads(module)
    return unpacked


@dataclass(frozen=True, kw_only=True)
class BlockResult:
    """The result of one block of images.

    Attributes
    ----------
    number : int
        Number of the block.
    batches : tuple of EmbeddedBatch
        Rows with vectors, failures and repeats.
    timings : Timings
        Time of each stage.
    depths : DepthTally
        Count of images of 16 bit.
    host : str
        Name of the machine.
    error : FeatxError or None
        Error that ends the run.
    """

    number: int
    host: str
    batches: tuple[EmbeddedBatch, ...] = ()
    timings: Timings = field(default_factory=Timings)
    depths: DepthTally = field(default_factory=DepthTally)
    error: FeatxError | None = None


def build_table(value: object) -> Any:
    """Build a table of one row that holds a value, as Ray Data passes values on.

    Parameters
    ----------
    value : object
        The value, which pickles.

    Returns
    -------
    pyarrow.Table
        One column, ``pickled``.
    """
    arrow: Any = require("pyarrow", "cluster")
    cell = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return arrow.table({"pickled": arrow.array([cell], arrow.large_binary())})


def iter_table(table: Any) -> Iterator[Any]:
    """Yield the values of tables of `build_table` that were joined.

    Parameters
    ----------
    table : pyarrow.Table
        The table.
    """
    for cell in table.column("pickled"):
        yield pickle.loads(cell.as_buffer())


class Skipped:
    """Contents that are not embedded: those that all blocks skip, and those of this block.

    Parameters
    ----------
    common : SeenDigests
        Digests that all blocks skip. They are not changed: the result of a block depends on
        nothing but its images.
    """

    def __init__(self, common: SeenDigests) -> None:
        self._common, self._own = common, set[str]()

    def __contains__(self, digest: str) -> bool:
        return digest in self._own or digest in self._common

    def add(self, digest: str) -> None:
        """Add a content of this block."""
        self._own.add(digest)


def describe_job(packed: bytes) -> EngineInfo | FeatxError:
    """Build the engine of a job once, and describe it; an error is returned.

    Parameters
    ----------
    packed : bytes
        The job, pickled.
    """
    try:
        _, engine = pickle.loads(packed).build_engine()
        with engine:
            info = describe_engine(engine)
        return replace(
            info, versions=dict(info.versions) | {"featx": importlib.metadata.version("featx")}
        )
    except Exception as error:
        return _translate(error)


class BlockEmbedder:
    """An actor: keep an engine open and embed one block of images after the other.

    Errors are part of the result. So an exception that Ray raises is always one of the cluster.

    Parameters
    ----------
    job : ObjectRef
        Reference of the pickled `Job`.
    skipped : ObjectRef
        Reference of the digests that all blocks skip.
    dtype : {"float32", "float16"}
        Dtype of the vectors.
    decode : {"exact", "fast"}
        Way to decode images.
    """

    def __init__(self, job: Any, skipped: Any, *, dtype: VectorDtype, decode: Decode) -> None:
        self._job, self._skipped = job, skipped
        self._dtype, self._decode = dtype, decode
        self._opened: tuple[Job, RunOptions, Engine] | None = None

    def __call__(self, table: Any) -> Any:
        """Embed the images of one block.

        Parameters
        ----------
        table : pyarrow.Table
            One row: the number and the images of the block.

        Returns
        -------
        pyarrow.Table
            One row: a `BlockResult`.
        """
        ((number, entries),) = iter_table(table)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the driver tells what a person should know
                result = self._embed(number, entries)
        except Exception as error:
            result = BlockResult(number=number, host=platform.node(), error=_translate(error))
        return build_table(result)

    def _embed(self, number: int, entries: Sequence[Entry]) -> BlockResult:
        if self._opened is None:
            get = require("ray", "cluster").get
            self._common = get(self._skipped)
            job: Job = pickle.loads(get(self._job))
            self._opened = job, *job.build_engine()
        job, options, engine = self._opened
        timings, batches = Timings(), []
        embedded = iter_embedded(
            entries,
            job.backbone,
            engine,
            options,
            skip_digests=Skipped(self._common),
            dtype=self._dtype,
            decode=self._decode,
            timings=timings,
        )
        while True:
            try:
                batches.append(next(embedded))
            except StopIteration as end:
                depths = end.value
                break
        return BlockResult(
            number=number,
            host=platform.node(),
            batches=tuple(batches),
            timings=timings,
            depths=depths,
        )


def _translate(error: Exception) -> FeatxError:
    """Turn an error into one that can be sent, with its traceback as a note."""
    subject = f"an actor on {platform.node()}"
    told = error if isinstance(error, FeatxError) else find_limit(error, subject)
    if told is None:
        told = DeviceError(
            subject=subject,
            expected="to embed its images",
            got=f"{type(error).__name__}: {error}",
            remedy="Read the traceback, or leave cluster out to run on this machine alone.",
        )
    told.add_note("".join(traceback.format_exception(error)))
    return told
