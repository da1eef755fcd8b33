"""An open engine: many calls, many threads, one at a time, and given back at the end."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import featx
from featx.backbones.backbone import Backbone
from featx.core.errors import BackboneError, DecodeError, FeatxError
from featx.core.typing import Array
from featx.embedding.options import RunOptions
from featx.embedding.session import EmbeddingSession
from featx.images.sources.inputs import list_entries
from featx.testing import FakeEngine

LONG_S = 60
"""No thread is waited for any longer."""


@pytest.fixture(scope="module")
def lenet5() -> Backbone:
    return featx.load_backbone("lenet5")


@pytest.fixture
def images() -> list[Array]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(10)]


def open_session(backbone: Backbone, engine: Any, **options: Any) -> EmbeddingSession:
    how = RunOptions(engine=engine, progress=False, **options)
    return EmbeddingSession(backbone, how, precision="fp32")


def test_session_embeds_with_one_engine_call_after_call(
    lenet5: Backbone, images: list[Array]
) -> None:
    engine = FakeEngine(batch_size=4)
    with open_session(lenet5, engine) as session:
        first, second = session.embed(images), session.embed(images[::-1])
        assert (engine.n_built, engine.n_open) == (1, 1)
    assert (engine.n_built, engine.n_open, engine.n_rows) == (1, 0, 20)
    assert first.tobytes() == second[::-1].tobytes()
    alone = featx.embed(images, backbone=lenet5, engine=FakeEngine())
    assert first.tobytes() == alone.tobytes()


def test_session_embeds_nothing_as_no_rows(lenet5: Backbone) -> None:
    with open_session(lenet5, FakeEngine()) as session:
        found = session.embed([])
    assert (found.shape, found.dtype) == ((0, 84), np.dtype(np.float32))


def test_session_is_shared_by_threads_that_never_meet_in_the_engine(
    lenet5: Backbone, images: list[Array]
) -> None:
    inside = threading.Lock()
    met: list[int] = []

    def act(number: int) -> None:
        if not inside.acquire(blocking=False):
            met.append(number)
            return
        time.sleep(0.001)  # other threads have the time to come in, if they can
        inside.release()

    with open_session(lenet5, FakeEngine(batch_size=4, on_batch=act)) as session:
        expected = [session.embed(images[i:]).tobytes() for i in range(4)]

        def embed_ten_times(i: int) -> list[bytes]:
            return [session.embed(images[i:]).tobytes() for _ in range(10)]

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(embed_ten_times, range(4)))
    assert found == [[one] * 10 for one in expected]
    assert met == []


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_session_of_a_network_gives_threads_the_same_bytes(
    lenet5: Backbone, images: list[Array], engine: str
) -> None:
    with open_session(lenet5, engine, device="cpu", batch_size=4) as session:
        expected = session.embed(images).tobytes()
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: session.embed(images).tobytes(), range(40)))
    assert found == [expected] * 40


def test_session_goes_on_after_an_image_that_it_cannot_embed(
    lenet5: Backbone, images: list[Array]
) -> None:
    with open_session(lenet5, FakeEngine(batch_size=2)) as session:
        expected = session.embed(images)
        with pytest.raises(DecodeError, match=r"^image 3: expected an image that can be embedded"):
            session.embed([*images[:3], np.ones((0, 9, 3), np.uint8), *images[3:]])
        assert session.embed(images).tobytes() == expected.tobytes()


def test_session_has_other_threads_wait_for_an_open_generator(
    lenet5: Backbone, images: list[Array]
) -> None:
    engine = FakeEngine(batch_size=1)
    session = open_session(lenet5, engine)
    batches = session.iter_batches(list_entries(images))
    next(batches)
    with ThreadPoolExecutor(2) as pool:
        call, end = pool.submit(session.embed, images[:1]), None
        with pytest.raises(TimeoutError):
            call.result(timeout=0.2)
        batches.close()
        assert call.result(LONG_S).shape == (1, 84)
        batches = session.iter_batches(list_entries(images))
        next(batches)
        end = pool.submit(session.close)
        with pytest.raises(TimeoutError):
            end.result(timeout=0.2)
        assert engine.n_open == 1
        batches.close()
        end.result(LONG_S)
    assert engine.n_open == 0


def test_session_that_is_closed_says_so(lenet5: Backbone, images: list[Array]) -> None:
    engine = FakeEngine()
    with open_session(lenet5, engine) as session:
        session.close()
        session.close()
        with pytest.raises(FeatxError, match=r"^engine for lenet5: expected an open engine, got a"):
            session.embed(images)
    assert (engine.n_open, engine.n_batches) == (0, 0)


def test_session_of_several_layers_is_refused_before_an_engine_is_built(
    tiny_backbone: str,
) -> None:
    backbone = featx.load_backbone(tiny_backbone, layers=["penultimate", "conv"])
    engine = FakeEngine()
    with pytest.raises(
        BackboneError, match=r"^tests-tiny: expected one layer to embed, got penultimate"
    ):
        open_session(backbone, engine)
    assert engine.n_built == 0
