"""Fixtures of the tests of extraction: a folder that changes, networks that fail, runs that end."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from featx.extraction.extract import extract
from tests.extraction.caches import COLOURS, age, read_all


@pytest.fixture
def put(make_image: Any) -> Any:
    """Write a small image that was last changed long ago; a factory."""

    def put(path: Path, seed: Any, **options: Any) -> Any:
        return age(make_image(path, (24, 20), seed, **options))

    return put


@pytest.fixture
def folder(tmp_path: Path, put: Any) -> Any:
    """ants/0.png to 3, bees/4.png to 7, told apart by colour."""
    for seed in range(8):
        label = ("ants", "bees")[seed // 4]
        put(tmp_path / "photos" / label / f"{seed}.png", seed, colour=COLOURS[label])
    return tmp_path / "photos"


@pytest.fixture
def run(tiny_backbone: str, tmp_path: Path) -> Any:
    """Extract with the tiny backbone, two images at a time: `folder` is four batches."""

    def run(source: Any, output: Any = "out.h5", **options: Any) -> Any:
        # The engine of torch is built in a quarter of the time.
        quick = {"engine": "torch", "batch_size": 2, "progress": False}
        options = {"backbone": tiny_backbone, **quick, **options}
        return extract(source, tmp_path / output, **options)

    return run


@pytest.fixture
def extracted(run: Any, folder: Path) -> Any:
    """The cache of `folder`."""
    return run(folder).path


@pytest.fixture(scope="session")
def other_backbone() -> Any:
    """Name of a second registered network, dim 5."""
    import torch
    from torch import nn
    from torchvision import transforms

    from featx.backbones.custom import register_backbone

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Conv2d(3, 5, 7, stride=8)
    transform = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    register_backbone("increments-other", network, transform=transform)
    return "increments-other"


@pytest.fixture(scope="session")
def fragile_backbone() -> Any:
    """Name of a network whose output is infinite for blue images, the bees; dim 3."""
    import torch
    from torch import nn
    from torchvision import transforms

    from featx.backbones.custom import register_backbone

    class Fragile(nn.Module):
        def forward(self, batch: Any) -> Any:
            mean = batch.mean((2, 3))
            return torch.where(mean[:, 2:] > mean[:, :1], mean / 0, mean)

    transform = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])
    register_backbone("increments-fragile", Fragile(), transform=transform)
    return "increments-fragile"


@pytest.fixture
def stop(watch_batches: Any) -> Iterator[Any]:
    """Let the network raise an error once, after so many batches; a factory."""
    with ExitStack() as stack:

        def stop(error: Any, *, after: Any) -> None:
            def act(number: Any) -> None:
                if number == after:
                    raise error

            stack.enter_context(watch_batches(act))

        yield stop


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The contents that are decoded from here on, as a list."""
    from featx.images.decode import decode_reduced

    seen = []

    def decode(data: Any, min_side: Any, name: str = "") -> Any:
        seen.append(data)
        return decode_reduced(data, min_side, name)

    monkeypatch.setattr("featx.embedding.decoding.decode_reduced", decode)
    return seen


@pytest.fixture
def check_fresh(run: Any) -> Any:
    """Compare a cache with a new one of its source, to the last byte."""

    def check(report: Any, source: Any, **options: Any) -> None:
        fresh = run(source, "fresh.h5", overwrite=True, **options)
        assert read_all(report.path) == read_all(fresh.path)

    return check


@pytest.fixture
def forged(run: Any, folder: Path, make_image: Any) -> Any:
    """A bitmap whose pixels changed, but neither its size nor its time of last change."""
    path = age(make_image(folder / "ants/8.bmp", (24, 20), 8))
    run(folder)
    before = path.stat()
    make_image(path, (24, 20), 9)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    return path


@pytest.fixture
def spoilt(folder: Path) -> Any:
    """`folder` with one content that is no image, in two files."""
    for name in ("ants/bad.png", "bees/bad.png"):
        (folder / name).write_bytes(b"no image")
        age(folder / name)
    return folder


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let decoding fail for some contents, or all, in a ``with`` block; a factory."""
    from featx.images.decode import decode_reduced

    @contextmanager
    def failing(contents: Any = None, error: Any = ValueError) -> Iterator[Any]:
        def decode(data: Any, min_side: Any, name: str = "") -> Any:
            if contents is None or data in contents:
                raise error("out of order")
            return decode_reduced(data, min_side, name)

        with monkeypatch.context() as patch:
            patch.setattr("featx.embedding.decoding.decode_reduced", decode)
            yield

    return failing
