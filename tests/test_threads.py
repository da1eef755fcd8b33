"""Eight threads that use featx at once get what one gets, and leave the process as it was."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import fx, nn

import featx
from featx.core.process import GLOBAL_STATE

N_THREADS = 8
N_CALLS = 8
"""Calls of each kind in the fast tests, over all threads."""

N_LONG = 2000
"""Calls in the long test, over all threads and kinds."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the calls share: a source, its cache and head, and open objects."""

    folder: Path
    image: Any
    how: dict[str, Any]
    backbone: featx.Backbone
    cache: featx.Cache
    predictor: featx.Predictor
    numbers: Iterator[int]

    def name_new(self, suffix: str) -> Path:
        """Name a file that does not exist."""
        return self.folder / f"new{next(self.numbers)}{suffix}"


def tell(predictions: list[featx.Prediction]) -> bytes:
    return repr([(one.label, one.score) for one in predictions]).encode()


def read(cache: featx.Cache) -> bytes:
    order = np.arange(len(cache))[::-1]
    return cache.read_vectors(rows=order).tobytes() + repr(cache.ids.tolist()).encode()


def open_and_read(scene: Scene) -> bytes:
    with featx.open_cache(scene.folder / "photos.h5") as cache:
        return read(cache)


def extract(scene: Scene) -> bytes:
    path = scene.name_new(".h5")
    featx.extract(scene.folder / "photos", path, backbone="lenet5", **scene.how)
    with featx.open_cache(path) as cache:
        return read(cache)


def fit(scene: Scene) -> bytes:
    head = featx.fit_head(scene.folder / "photos.h5", scene.name_new(".joblib"), cv=3)
    return head.score_classes(np.ones((1, 84), np.float32)).tobytes()


def open_and_predict(scene: Scene) -> bytes:
    with featx.open_predictor(scene.folder / "head.joblib", **scene.how) as predictor:
        return tell(predictor.predict(scene.image))


def load_layers(scene: Scene) -> bytes:
    backbone = featx.load_backbone("lenet5", weights="random:0", layers=["c3", "penultimate"])
    return backbone.weights_digest.encode()


NETWORK_CALLS: dict[str, Callable[[Scene], bytes]] = {
    "embed": lambda scene: featx.embed(scene.image, backbone="lenet5", **scene.how).tobytes(),
    "embed-object": lambda scene: featx.embed(
        scene.image, backbone=scene.backbone, **scene.how
    ).tobytes(),
    "embed-layer": lambda scene: featx.embed(
        scene.image, backbone="mini", layer="features.1", weights="random:0", **scene.how
    ).tobytes(),
    "predict": lambda scene: tell(
        featx.predict(scene.folder / "head.joblib", scene.image, **scene.how)
    ),
    "open_predictor": open_and_predict,
    "predictor": lambda scene: tell(scene.predictor.predict(scene.image)),
    "extract": extract,
}
OTHER_CALLS: dict[str, Callable[[Scene], bytes]] = {
    "fit_head": fit,
    "evaluate": lambda scene: repr(
        featx.evaluate(scene.folder / "head.joblib", scene.folder / "photos.h5").to_dict()
    ).encode(),
    "open_cache": open_and_read,
    "cache": lambda scene: read(scene.cache),
    "load_backbone": load_layers,
}
CALLS = NETWORK_CALLS | OTHER_CALLS


ENGINES = ("openvino", "torch")


@pytest.fixture(scope="module", params=ENGINES)
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_image: Any
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("threads")
    names = itertools.product(("train", "val"), ("ants", "bees"), range(3))
    for seed, (split, label, number) in enumerate(names):
        colour = (200, 60, 40) if label == "ants" else (40, 90, 210)
        path = folder / "photos" / split / label / f"{number}.png"
        make_image(path, (48, 36), seed, colour=colour)
    how = {"engine": request.param, "device": "cpu", "progress": False}
    featx.extract(folder / "photos", folder / "photos.h5", backbone="lenet5", **how)
    featx.fit_head(folder / "photos.h5", folder / "head.joblib", cv=3)
    image = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), dtype=np.uint8)
    with (
        featx.open_cache(folder / "photos.h5") as cache,
        featx.open_predictor(folder / "head.joblib", **how) as predictor,
    ):
        yield Scene(
            folder=folder,
            image=image,
            how=how,
            backbone=featx.load_backbone("lenet5"),
            cache=cache,
            predictor=predictor,
            numbers=itertools.count(),
        )


def check_process(before: list[Any]) -> None:
    """See that the process is as it was, and that networks of others run."""
    assert read_state() == before
    assert nn.Module.__call__ is nn.Module._wrapped_call_impl
    assert nn.Linear(2, 2)(torch.ones(1, 2)).shape == (1, 2)
    assert GLOBAL_STATE.acquire(blocking=False)
    GLOBAL_STATE.release()


def read_state() -> list[Any]:
    import warnings

    from threadpoolctl import threadpool_info

    return [
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.backends.cudnn.allow_tf32,
        list(warnings.filters),
        [(one["filepath"], one["num_threads"]) for one in threadpool_info()],
    ]


@pytest.mark.parametrize(
    ("scene", "what"),
    [*itertools.product(ENGINES, NETWORK_CALLS), *itertools.product(["torch"], OTHER_CALLS)],
    indirect=["scene"],
    scope="module",
)
def test_eight_threads_get_what_one_gets(scene: Scene, what: str) -> None:
    call = CALLS[what]
    expected = call(scene)
    before = read_state()
    featx.close_engines()  # the threads begin without an engine
    with ThreadPoolExecutor(N_THREADS) as pool:
        found = list(pool.map(lambda _: call(scene), range(N_CALLS)))
    assert found == [expected] * N_CALLS
    check_process(before)


def test_coroutines_get_what_one_call_gets(scene: Scene) -> None:
    expected = [CALLS["embed"](scene), CALLS["predict"](scene)]

    async def call_both() -> list[bytes]:
        calls = [asyncio.to_thread(CALLS[what], scene) for what in ("embed", "predict") * 6]
        return list(await asyncio.gather(*calls))

    assert asyncio.run(call_both()) == expected * 6


class Branching(nn.Module):
    """A network that somebody else traces and runs while featx works."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        first, second = self.first(batch), self.second(batch)
        return torch.add(first, second.relu())


def run_all_mixed(scene: Scene, n_calls: int) -> None:
    """Let the threads make calls of all kinds, while another thread traces and runs networks."""
    expected = {what: call(scene) for what, call in CALLS.items()}
    own = Branching().eval()
    graph, answer = fx.symbolic_trace(own).code, own(torch.ones(1, 3))
    before = read_state()
    ended, others, failures = threading.Event(), itertools.count(), []

    def use_own_networks() -> None:
        try:
            while not ended.is_set():
                assert torch.equal(own(torch.ones(1, 3)), answer)
                next(others)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=use_own_networks)
    thread.start()
    try:
        with ThreadPoolExecutor(N_THREADS) as pool:
            names = list(itertools.islice(itertools.cycle(CALLS), n_calls))
            found = list(pool.map(lambda what: CALLS[what](scene), names))
    finally:
        ended.set()
        thread.join()
    assert [what for what, got in zip(names, found, strict=True) if got != expected[what]] == []
    assert failures == []
    assert next(others) > 0
    check_process(before)
    assert fx.symbolic_trace(own).code == graph


@pytest.mark.slow
def test_eight_threads_with_calls_of_all_kinds_get_what_one_gets(scene: Scene) -> None:
    run_all_mixed(scene, N_LONG)
