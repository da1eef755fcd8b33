"""Embed images on a Ray cluster: blocks of a manifest go out, vectors come back.

Ray Data gives the blocks to actors that keep an engine. The driver, which is this process, alone
writes shards and the cache. A block whose actor or machine is lost goes out again.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError, FeatxError, SourceError
from featx.core.lookup import SeenDigests
from featx.core.notes import note
from featx.core.process import ignore_warnings
from featx.core.progress import open_bar, stage
from featx.core.rows import Failure
from featx.core.typing import Decode, Precision, VectorDtype
from featx.embedding.batching import EmbeddedBatch
from featx.embedding.decoding import DepthTally
from featx.embedding.options import RunOptions
from featx.embedding.timings import Timings
from featx.engines.info import EngineInfo
from featx.extraction.ray_actor import (
    BlockEmbedder,
    BlockResult,
    Job,
    build_table,
    describe_job,
    iter_table,
    pack_backbone,
)
from featx.extraction.ray_connect import ClusterRequest, open_ray
from featx.extraction.ray_plan import (
    ActorPlan,
    choose_block_size,
    describe_loss,
    plan_actors,
    settle_repeats,
)
from featx.images.content import Content
from featx.images.entries import Entry
from featx.images.missing import REASON

T = TypeVar("T")

MAX_ROUNDS = 3
"""Number of times in a row that the cluster may lose an actor without a result in between."""

WAIT_S = 5.0
"""Seconds to wait after a round without a result, and as many more after the next: Ray takes 15 s
to notice that a machine is gone."""

MAX_IN_FLIGHT = 2
"""Number of blocks that an actor has: one that it embeds, and one that waits."""

NO_SECOND_LIFE = {"max_restarts": 0, "max_task_retries": 0}
"""Options of actors: one that Ray starts again would wait for ever for a machine that is lost. Ray
2.64 will drop these options of `map_batches`."""

SILENT = ("enable_progress_bars", "print_on_execution_start")
"""Switches of Ray Data's own progress."""


class LostError(Exception):
    """The cluster lost an actor or a machine; the cause says what Ray knows of it."""


def iter_in_daemon(items: Callable[[], Iterator[T]]) -> Generator[T]:
    """Run an iterator of Ray in a thread, so that a signal ends the wait for it at once.

    Parameters
    ----------
    items : callable
        Function that returns the iterator. The thread calls it.

    Raises
    ------
    LostError
        If the iterator raises an error.
    """
    ready: queue.Queue[tuple[T] | Exception | None] = queue.Queue(2)
    stopped = threading.Event()

    def put(item: tuple[T] | Exception | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def fill() -> None:
        try:
            for item in items():
                put((item,))
                if stopped.is_set():
                    return
            put(None)
        except Exception as error:  # Ray raises many kinds
            put(error)

    # A daemon: the end of Ray ends it, and nobody waits for it.
    threading.Thread(target=fill, name="featx-ray", daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise LostError from item
            yield item[0]
    finally:
        stopped.set()


class RayRunner:
    """Embed images on a cluster; `featx.extraction.runner.Runner` describes the methods.

    Parameters
    ----------
    ray : module
        The package ray, connected.
    cluster : ClusterRequest
        The cluster.
    job : Job
        The network and its engine.
    options : RunOptions
        Options of the run. Its `workers` are the cores of each actor.

    Attributes
    ----------
    engine : EngineInfo
        Description of the engine that the actors build.
    """

    def __init__(self, ray: Any, cluster: ClusterRequest, job: Job, options: RunOptions) -> None:
        self._ray, self._cluster, self._options = ray, cluster, options
        plan = self._plan()
        device = "cuda:0" if plan.n_gpus else "cpu" if cluster.device == "auto" else cluster.device
        n_images = math.ceil(job.n_images / plan.n_actors)
        job = replace(job, device=device, n_cores=plan.n_cores, n_images=n_images)
        with stage(f"building the engine on {cluster.name}"):
            self.engine = self._describe(job, plan)
        job = replace(job, batch_size=self.engine.batch_size)
        self._job = ray.put(_pickle(ray, job.backbone.name, job))

    def _plan(self) -> ActorPlan:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        plan = plan_actors(nodes, device=self._cluster.device, workers=self._options.workers)
        if plan is None:
            has = [f"{one.get('CPU', 0):g} cores and {one.get('GPU', 0):g} GPUs" for one in nodes]
            raise DeviceError(
                subject=f"cluster {self._cluster.name}",
                expected="a machine with the cores and the GPU of one actor",
                got=", ".join(has) or "no machine",
                remedy="Pass fewer workers or another device, or add machines to the cluster.",
            )
        return plan

    def _describe(self, job: Job, plan: ActorPlan) -> EngineInfo:
        """Let a worker of the cluster build the engine once, and end."""
        probe = self._ray.remote(num_cpus=plan.n_cores, num_gpus=plan.n_gpus, max_calls=1)(
            describe_job
        )
        packed = _pickle(self._ray, job.backbone.name, job)
        try:
            with closing(
                iter_in_daemon(lambda: iter([self._ray.get(probe.remote(packed))]))
            ) as one:
                info: EngineInfo | FeatxError = next(one)
        except LostError as lost:
            raise self._explain(lost, "to build the engine") from lost.__cause__
        if isinstance(info, FeatxError):
            raise info
        theirs, ours = info.versions["featx"], importlib.metadata.version("featx")
        if theirs != ours:
            raise DeviceError(
                subject=f"cluster {self._cluster.name}",
                expected=f"featx {ours}, as on this machine",
                got=f"featx {theirs}",
                remedy="Install the same featx on every machine of the cluster.",
            )
        versions = {name: text for name, text in info.versions.items() if name != "featx"}
        return replace(info, versions=versions)

    def iter_embedded(
        self,
        entries: Sequence[Entry],
        *,
        skip_digests: SeenDigests,
        dtype: VectorDtype,
        decode: Decode,
        timings: Timings,
    ) -> Generator[EmbeddedBatch, None, object]:
        """Embed images, in the order in which the cluster finishes them; see `Runner`."""
        plan, begin, depths = self._plan(), time.perf_counter(), DepthTally()
        size = choose_block_size(
            len(entries), n_actors=plan.n_actors, batch_size=self.engine.batch_size
        )
        pending = [*range(math.ceil(len(entries) / size))]
        timings.engine, timings.device = self.engine.name, self.engine.device
        embedder = {"job": self._job, "skipped": self._ray.put(skip_digests)}
        embedder |= {"dtype": dtype, "decode": decode}
        n_fruitless = 0
        with open_bar("embedding", len(entries), unit="images", show=self._options.progress) as bar:
            while pending:
                timings.n_cores = timings.n_workers = plan.n_actors * plan.n_cores
                n_before = len(pending)
                blocks = ((n, entries[n * size : (n + 1) * size]) for n in [*pending])
                start = functools.partial(self._iter_results, blocks, embedder, plan)
                try:
                    with closing(iter_in_daemon(start)) as results:
                        for result in results:
                            pending.remove(result.number)
                            first = result.number * size
                            for batch in self._open(result, entries[first : first + size]):
                                bar.update(len(batch))
                                with timings.write():
                                    yield settle_repeats(batch, skip_digests)
                            _add_timings(timings, result.timings, plan.n_actors)
                            depths.merge(result.depths)
                except LostError as lost:
                    n_fruitless = 0 if len(pending) < n_before else n_fruitless + 1
                    example = entries[pending[0] * size].row.id
                    error = self._explain(lost, f"to embed images such as {example}")
                    if n_fruitless == MAX_ROUNDS:
                        raise error from lost.__cause__
                    note(f"{error.subject}: {error.got}. Its unfinished images are embedded again.")
                    time.sleep(n_fruitless * WAIT_S)
                    # An image that ends its actor must not come first for ever.
                    plan = self._plan()
                    n_out = min(len(pending), plan.n_actors * MAX_IN_FLIGHT)
                    pending = pending[n_out:] + pending[:n_out]
        timings.wall_s += time.perf_counter() - begin
        depths.warn()
        return depths

    def _iter_results(
        self,
        blocks: Iterator[tuple[int, Sequence[Entry]]],
        embedder: dict[str, Any],
        plan: ActorPlan,
    ) -> Iterator[BlockResult]:
        """Send blocks through a dataset of Ray, and yield results as they come."""
        data = self._ray.data
        tables = [build_table(block) for block in blocks]
        strategy = data.ActorPoolStrategy(
            size=min(plan.n_actors, len(tables)), max_tasks_in_flight_per_actor=MAX_IN_FLIGHT
        )
        with _quiet(data):
            with ignore_warnings(message="`ray_remote_args` is deprecated"):
                results = data.from_arrow(tables).map_batches(
                    BlockEmbedder,
                    fn_constructor_kwargs=embedder,
                    batch_size=None,
                    batch_format="pyarrow",
                    compute=strategy,
                    num_cpus=plan.n_cores,
                    num_gpus=plan.n_gpus,
                    **NO_SECOND_LIFE,
                )
            for table in results.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield from iter_table(table)

    def _open(self, result: BlockResult, block: Sequence[Entry]) -> Sequence[EmbeddedBatch]:
        """Take the batches out of a result; raise its error, or that of a machine without files."""
        if result.error is not None:
            raise result.error
        for failure in (failure for batch in result.batches for failure in batch.failures):
            if failure.reason.startswith(REASON) and _is_here(failure, block):
                raise SourceError(
                    subject=failure.path,
                    expected=f"the file on {result.host} too",
                    got=failure.reason,
                    remedy="Mount the folder of the images at the same path on every machine of "
                    "the cluster.",
                )
        return result.batches

    def _explain(self, lost: LostError, task: str) -> DeviceError:
        """Say in one line what was lost, and what to do."""
        cause = lost.__cause__
        got, remedy = describe_loss(f"{type(cause).__name__}: {cause}")
        return DeviceError(
            subject=f"cluster {self._cluster.name}",
            expected=f"actors that live {task}",
            got=got,
            remedy=remedy,
        )


def _is_here(failure: Failure, block: Sequence[Entry]) -> bool:
    """Tell whether this machine can read an image that another one did not find."""
    for entry in block:
        if entry.row.id == failure.id and isinstance(entry.content, Content):
            with suppress(OSError):
                entry.content.read(1)
                return True
    return False


def _add_timings(total: Timings, part: Timings, n_actors: int) -> None:
    """Add the time of one block: seconds of cores add up, those that pass are shared by actors."""
    total.n_images += part.n_images
    total.read_s += part.read_s
    for phase, seconds in part.cpu_s.items():
        total.cpu_s[phase] += seconds
    for name, seconds in part.waits_s.items():
        total.waits_s[name] += seconds / n_actors
    if part.busy_s is not None:
        total.busy_s = (total.busy_s or 0.0) + part.busy_s / n_actors
    total.precision, total.decode = part.precision, part.decode
    total.precisions = part.precisions


@contextmanager
def _quiet(data: Any) -> Iterator[None]:
    """Let Ray Data show nothing of its own; featx shows what matters."""
    context, logger = data.DataContext.get_current(), logging.getLogger("ray.data")
    before, level = {name: getattr(context, name) for name in SILENT}, logger.level
    for name in before:
        setattr(context, name, False)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


def _pickle(ray: Any, name: str, value: Any) -> bytes:
    """Pickle a value; Ray's pickle also writes classes that a script defines."""
    try:
        packed: bytes = ray.cloudpickle.dumps(value)
    except Exception as error:  # classes that cannot be pickled raise any kind of error
        raise DeviceError(
            subject=f"{name} on a cluster",
            expected="a network, a transform and an engine that can be pickled",
            got=f"{type(error).__name__}: {error}",
            remedy="Define their parts in a module, or leave cluster out.",
        ) from error
    return packed


@contextmanager
def open_ray_runner(
    cluster: ClusterRequest,
    backbone: Backbone,
    options: RunOptions,
    *,
    precision: Precision,
    n_images: int,
) -> Iterator[RayRunner]:
    """Connect to a cluster in a block, and let it build the engine.

    Parameters
    ----------
    cluster : ClusterRequest
        The cluster.
    backbone : Backbone
        The network.
    options : RunOptions
        Options of the run.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    n_images : int
        Number of images to expect.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    DeviceError
        If the cluster cannot be reached, has no machine for an actor, or cannot build the engine.
    """
    with open_ray(cluster) as ray:
        job = Job(
            backbone=pack_backbone(backbone, functools.partial(_pickle, ray, backbone.name)),
            engine=options.engine,
            device=cluster.device,
            precision=precision,
            batch_size=options.batch_size,
            n_cores=1,
            n_images=n_images,
            folder=os.getcwd(),
        )
        yield RayRunner(ray, cluster, job, options)
