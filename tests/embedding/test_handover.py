"""Images of a generator are taken in the caller's thread, a few at a time, when needed."""

import gc
import math
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import featx
from featx.backbones.backbone import Backbone
from featx.core.errors import FeatxError, SourceError
from featx.core.typing import Array
from featx.embedding.options import RunOptions
from featx.embedding.session import EmbeddingSession
from featx.testing import FakeEngine

MAX_ALIVE = 64
"""Largest number of images of a stream that may be in memory at once, with two workers."""


@pytest.fixture(scope="module")
def lenet5() -> Backbone:
    return featx.load_backbone("lenet5")


def open_session(backbone: Backbone, **options: Any) -> EmbeddingSession:
    how = RunOptions(engine=FakeEngine(batch_size=4), progress=False, workers=2, **options)
    return EmbeddingSession(backbone, how, precision="fp32")


def draw(number: int) -> Array:
    return np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)


def test_stream_gives_what_a_list_gives(lenet5: Backbone) -> None:
    with open_session(lenet5) as session:
        expected = session.embed([draw(number) for number in range(50)])
        found = session.embed(draw(number) for number in range(50))
    assert found.tobytes() == expected.tobytes()


def test_stream_of_nothing_is_empty(lenet5: Backbone) -> None:
    with open_session(lenet5) as session:
        assert session.embed(iter(())).shape == (0, 84)


def test_stream_is_taken_in_the_callers_thread(lenet5: Backbone) -> None:
    threads: set[int] = set()

    def generate() -> Iterator[Array]:
        for number in range(20):
            threads.add(threading.get_ident())
            yield draw(number)

    with open_session(lenet5) as session:
        session.embed(generate())
    assert threads == {threading.get_ident()}


def test_stream_of_many_images_holds_a_few(lenet5: Backbone) -> None:
    shape, n_images = (300, 300, 3), 500
    with open_session(lenet5) as session:
        tracemalloc.start()
        try:
            X = session.embed(np.zeros(shape, np.uint8) for _ in range(n_images))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert X.shape == (n_images, 84)
    n_alive = peak / math.prod(shape)
    assert 1 < n_alive < MAX_ALIVE


@pytest.mark.parametrize("n_before", [0, 1, 30, 200])
def test_stream_error_of_the_generator_goes_to_the_caller(lenet5: Backbone, n_before: int) -> None:
    def generate() -> Iterator[Array]:
        for number in range(n_before):
            yield draw(number)
        raise LookupError("no more frames")

    n_threads = threading.active_count()
    with open_session(lenet5) as session:
        with pytest.raises(LookupError, match="no more frames"):
            session.embed(generate())
        assert threading.active_count() == n_threads
        assert session.embed([draw(0)]).shape == (1, 84)


def test_stream_refuses_what_is_no_image_when_it_comes(lenet5: Backbone) -> None:
    images = [draw(0), draw(1), None, draw(2)]
    with open_session(lenet5) as session:
        with pytest.raises(SourceError, match=r"^image 2: expected an image .*, got None"):
            session.embed(iter(images))
        assert session.embed(images[:2]).shape == (2, 84)


def test_stream_that_needs_its_own_session_is_refused(lenet5: Backbone) -> None:
    with open_session(lenet5) as session:

        def generate() -> Iterator[Array]:
            yield draw(0)
            session.embed(draw(1))

        with pytest.raises(
            FeatxError, match=r"^images: expected images that do not need the engine"
        ):
            session.embed(generate())
        assert session.embed(draw(1)).shape == (1, 84)


def test_stream_is_left_where_the_caller_stops(lenet5: Backbone) -> None:
    from featx.images.sources.inputs import read_images

    images = (draw(number) for number in range(10_000))
    n_threads = threading.active_count()
    with open_session(lenet5) as session:
        batches = session.iter_batches(read_images(images))
        next(batches)
        batches.close()
        assert threading.active_count() == n_threads
    gc.collect()
    assert sum(1 for _ in images) > 9_000
