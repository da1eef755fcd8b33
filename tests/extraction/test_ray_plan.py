"""What a cluster run decides, and how it ends without a cluster; none of it needs Ray."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featx.core.errors import DeviceError, SourceError
from featx.core.rows import Failure, Row
from featx.embedding.batching import EmbeddedBatch
from featx.embedding.timings import Timings
from featx.extraction.ray import LostError, RayRunner, _add_timings, iter_in_daemon
from featx.extraction.ray_actor import BlockResult, Skipped
from featx.extraction.ray_connect import open_ray, parse_cluster
from featx.extraction.ray_plan import (
    MIN_BLOCK,
    ActorPlan,
    choose_block_size,
    describe_loss,
    plan_actors,
    settle_repeats,
)
from featx.images.content import Content
from featx.images.entries import Entry
from featx.images.missing import REASON

BIG, SMALL = {"CPU": 16.0, "GPU": 2.0, "memory": 1e9}, {"CPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "device", "workers", "expected"),
    [
        pytest.param([SMALL], "auto", "auto", (1, 4, 0), id="one machine, all its cores"),
        pytest.param([SMALL], "auto", 1, (4, 1, 0), id="one core each"),
        pytest.param([SMALL], "cpu", 3, (1, 3, 0), id="a core is left"),
        pytest.param([{"CPU": 8.0}, SMALL], "cpu", "auto", (3, 4, 0), id="the smallest decides"),
        pytest.param([{}, SMALL], "auto", "auto", (1, 4, 0), id="a head without cores"),
        pytest.param([BIG, SMALL], "auto", "auto", (2, 8, 1), id="a GPU is preferred"),
        pytest.param([BIG, SMALL], "cpu", "auto", (5, 4, 0), id="unless the caller says cpu"),
        pytest.param([BIG], "cuda", 12, (1, 12, 1), id="cores for one GPU only"),
        pytest.param([{"CPU": 1.0, "GPU": 2.0}], "cuda", "auto", (1, 1, 1), id="GPUs, few cores"),
        pytest.param([SMALL], "cuda", "auto", None, id="no GPU"),
        pytest.param([SMALL], "cpu", 5, None, id="too few cores"),
        pytest.param([], "auto", "auto", None, id="no machine"),
    ],
)
def test_plan_actors_fits_the_machines(
    nodes: Any, device: Any, workers: Any, expected: Any
) -> None:
    plan = plan_actors(nodes, device=device, workers=workers)
    keys = "n_actors", "n_cores", "n_gpus"
    assert plan == (
        None if expected is None else ActorPlan(**dict(zip(keys, expected, strict=True)))
    )


@pytest.mark.parametrize("n_images", [1, 7, 100, 10_000, 10**7])
@pytest.mark.parametrize("n_actors", [1, 3, 64])
@pytest.mark.parametrize("batch_size", [1, 8, 256])
def test_blocks_are_whole_batches_and_enough_for_all(
    n_images: int, n_actors: int, batch_size: int
) -> None:
    size = choose_block_size(n_images, n_actors=n_actors, batch_size=batch_size)
    assert size % batch_size == 0
    assert size <= max(MIN_BLOCK, 16 * batch_size)
    if n_images >= 4 * n_actors * batch_size:
        assert n_images / size > 2 * n_actors


@pytest.mark.parametrize(
    ("text", "got", "remedy"),
    [
        ("OutOfMemoryError: Task was killed due to the node running low on memory.",
         "no memory left", "batch_size"),
        ("ActorDiedError: The actor died because its node has died. Node Id: 1f", "a machine",
         "ray status"),
        ("ActorDiedError: The actor died unexpectedly before finishing this task.\n"
         "(1) The process is killed by SIGKILL by OOM killer", "was killed", "workers=N"),
        ("ObjectLostError: Failed to retrieve object 00ff.\nMore of it.",
         "ObjectLostError: Failed to retrieve object 00ff.", "ray status"),
    ],
)  # fmt: skip
def test_describe_loss_says_what_was_lost_and_what_to_do(text: str, got: str, remedy: str) -> None:
    found = describe_loss(text)
    assert got in found[0]
    assert remedy in found[1]
    assert "\n" not in "".join(found)


def build_row(digest: str) -> Row:
    return Row(id=f"{digest}.jpg", path=f"/{digest}.jpg", digest=digest, width=4, height=3)


def build_failure(digest: str, name: str) -> Failure:
    return Failure(
        id=name,
        path=f"/{name}",
        digest=digest,
        stage="decode",
        reason="torn",
        n_bytes=5,
        mtime_ns=6,
    )


def test_settle_repeats_keeps_the_first_of_each_content() -> None:
    seen = {"a"}
    batch = EmbeddedBatch(
        rows=tuple(map(build_row, "abc")),
        vectors={"penultimate": np.arange(6, dtype=np.float32).reshape(3, 2)},
        failures=(
            build_failure("b", "1.jpg"),
            build_failure("", "2.jpg"),
            build_failure("", "3.jpg"),
        ),
        repeats=(build_row("z"),),
    )
    settled = settle_repeats(batch, seen)
    assert [row.digest for row in settled.rows] == ["b", "c"]
    assert settled.vectors["penultimate"].tolist() == [[2, 3], [4, 5]]
    assert [one.id for one in settled.failures] == ["2.jpg", "3.jpg"]  # without a digest: all stay
    assert [(row.id, row.digest) for row in settled.repeats] == [
        ("z.jpg", "z"), ("a.jpg", "a"), ("1.jpg", "b"),
    ]  # fmt: skip
    assert settled.repeats[2].n_bytes == 5
    assert seen == {"a", "b", "c"}
    assert len(settled) == len(batch)


def test_skipped_knows_the_contents_of_its_block_and_changes_no_other() -> None:
    common = {"a"}
    skipped = Skipped(common)
    skipped.add("b")
    assert "a" in skipped
    assert "b" in skipped
    assert "c" not in skipped
    assert common == {"a"}


def test_machine_without_the_images_ends_the_run(tmp_path: Path) -> None:
    runner = object.__new__(RayRunner)  # no cluster: only what comes back matters
    here, gone = tmp_path / "here.jpg", tmp_path / "gone.jpg"
    here.write_bytes(b"an image")
    block = [Entry(Row(id=p.name, path=str(p)), Content(str(p))) for p in (here, gone)]
    for path, is_told in ((gone, False), (here, True)):
        failure = Failure(
            id=path.name, path=str(path), digest="", stage="read", reason=f"{REASON}: {path}"
        )
        batch = EmbeddedBatch(rows=(), vectors={}, failures=(failure,))
        result = BlockResult(number=0, host="node-7", batches=(batch,))
        if is_told:
            with pytest.raises(SourceError, match=r"expected the file on node-7 too.* Mount the"):
                runner._open(result, block)
        else:  # it is on no machine: a row of the ledger
            assert runner._open(result, block) == (batch,)


def test_timings_of_blocks_add_up() -> None:
    total = Timings()
    for _ in range(4):
        part = Timings(n_images=10, busy_s=2.0, precision="bf16")
        part.cpu_s["decode"] = 3.0
        part.waits_s["images"] = 1.0
        _add_timings(total, part, 2)
    assert (total.n_images, total.cpu_s["decode"], total.waits_s["images"]) == (40, 12.0, 2.0)
    assert (total.busy_s, total.precision) == (4.0, "bf16")


@pytest.mark.parametrize(
    ("text", "address"),
    [("ray", ""), ("ray://auto", "auto"), ("ray://10.0.0.1:6379", "10.0.0.1:6379"),
     ("ray://head.local:6379", "head.local:6379"), ("ray://[::1]:6379", "[::1]:6379")],
)  # fmt: skip
def test_cluster_is_named_by_its_address(text: str, address: str) -> None:
    cluster = parse_cluster(text, "cpu")
    assert (cluster.address, cluster.device, cluster.name) == (address, "cpu", text)


@pytest.mark.parametrize("text", ["", "dask", "ray:", "ray://", "ray://head", "ray://a b:1"])
def test_other_clusters_are_wrong_usage(text: str, run_cli: Any, photos: Path) -> None:
    done = run_cli("extract", photos, "-o", "out.h5", "--cluster", text)
    done.check_error("--cluster: expected ray, ray://auto or ray://HOST:PORT", code=2)


def test_iter_in_daemon_gives_items_and_the_error() -> None:
    def fail() -> Any:
        yield 1
        raise OSError("gone")

    assert list(iter_in_daemon(lambda: iter([1, None, 3]))) == [1, None, 3]
    items = iter_in_daemon(fail)
    assert next(items) == 1
    with pytest.raises(LostError) as caught:
        next(items)
    assert isinstance(caught.value.__cause__, OSError)


def test_extract_without_ray_says_what_to_install(
    run_cli: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    words = "extract", photos, "-o", tmp_path / "out.h5", "--backbone", "mini", "--cluster", "ray"
    run_cli(*words).check_error("pip install ray (the extra cluster of featx installs it)")


def test_address_where_nothing_listens_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = type(sys)("ray")
    ray.is_initialized = lambda: False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", type(sys)("ray.data"))
    cluster = parse_cluster("ray://127.0.0.1:1", "auto")
    told = pytest.raises(DeviceError, match=r"cluster ray://127\.0\.0\.1:1: .* ray start --head")
    with told, open_ray(cluster):
        pytest.fail("connected to nothing")


@pytest.mark.parametrize("address", ["ray", "ray://auto", "ray://10.0.0.1:6379"])
def test_cluster_that_is_connected_is_used_and_another_is_told(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    ray = type(sys)("ray")
    ray.is_initialized = lambda: True  # type: ignore[attr-defined]
    context = SimpleNamespace(gcs_address="10.0.0.2:6379")
    ray.get_runtime_context = lambda: context  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", type(sys)("ray.data"))
    is_other = address.endswith("6379")
    told = pytest.warns(match=r"10\.0\.0\.1:6379: .* connected to ray://10\.0\.0\.2:6379")
    with told if is_other else nullcontext(), open_ray(parse_cluster(address, "auto")) as opened:
        assert opened is ray


def test_extract_imports_no_ray_unless_asked(photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys, featx\n"
        "from featx.testing import FakeEngine\n"  # ten times as fast as a network
        f"featx.extract({str(photos)!r}, {str(tmp_path / 'out.h5')!r}, backbone='mini',"
        " engine=FakeEngine())\n"
        "assert 'ray' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
