"""Fixtures for all tests: generated images, small caches, the command line in-process."""

import itertools
import os
import re
import shutil
import signal
import socket
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

import featx
from featx.cache.reader import Cache
from featx.cache.writer import Column, write_cache
from featx.core.columns import Texts
from featx.core.typing import Split
from tests.builders import HAS_OPENVINO, build_info, build_rows, write_vectors

# Idle threads of torch spin by default: on a busy machine test_cli.py took 51 s of CPU, not 31.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell that starts the tests in the background has SIGINT ignored, here and in all children.
signal.signal(signal.SIGINT, signal.default_int_handler)

COLOURS = {"ants": (200, 60, 40), "bees": (40, 90, 210)}


def pytest_runtest_setup(item: Any) -> None:
    if item.get_closest_marker("gpu"):
        import torch  # takes seconds: only where a gpu test is run

        if not torch.cuda.is_available():
            pytest.skip("needs CUDA")
    options = item.callspec.params.values() if hasattr(item, "callspec") else ()
    if not HAS_OPENVINO and any(isinstance(one, str) and one == "openvino" for one in options):
        pytest.skip("needs OpenVINO")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test downloads, nor finds weights that another program has downloaded."""
    connect = socket.socket.connect

    def refuse(self: Any, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise OSError(f"tests reach no network, got {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.getbasetemp() / "torch-home"))
    monkeypatch.delenv("FEATX_WEIGHTS_DIR", raising=False)


@pytest.fixture(autouse=True)
def _no_kept_engines() -> Iterator[None]:
    """No test gets an engine that another test has left open for the next call."""
    yield
    if "featx.embedding.named" in sys.modules:
        featx.close_engines()


@pytest.fixture(scope="session", autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What featx keeps between runs lies with the tests; converted networks serve them all."""
    os.environ["FEATX_STORE"] = str(tmp_path_factory.getbasetemp() / "store")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store of its own, which is empty."""
    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.setenv("FEATX_STORE", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared_path() -> Any:
    """Where photos and weights lie beside the project, if they do."""
    beside = Path(__file__).resolve().parents[1].parent / "shared"
    return Path(os.environ.get("FEATX_SHARED", beside))


@pytest.fixture
def shared(shared_path: Any) -> Any:
    """The folder of photos and weights beside the project."""
    if not shared_path.is_dir():
        pytest.skip(
            f"needs the shared folder, got nothing at {shared_path} (FEATX_SHARED names it)"
        )
    return shared_path


def write_image(
    path: Path,
    size: Any = (40, 30),
    seed: Any = 0,
    mode: Any = "RGB",
    format: Any = None,
    colour: Any = None,
) -> Any:
    """Write seeded noise, around a colour where one is given; return the path."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    if colour is not None:
        pixels = np.clip(np.array(colour) + pixels.astype(int) // 8 - 16, 0, 255).astype(np.uint8)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path, format=format)
    return path


@pytest.fixture(scope="session")
def make_image() -> Any:
    """`write_image`, as a factory."""
    return write_image


@pytest.fixture(scope="session")
def drawn_photos(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder that `photos` is a copy of."""
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    seed = 0
    for split, count in (("train", 4), ("val", 2)):
        for label, colour in COLOURS.items():
            for number in range(count):
                path = folder / split / label / f"{number}.jpg"
                write_image(path, (48, 36), seed, colour=colour)
                seed += 1
    return folder


@pytest.fixture
def photos(drawn_photos: Path, tmp_path: Path) -> Any:
    """train/{ants,bees} with 4 photos each, val/{ants,bees} with 2, told apart by colour."""
    return shutil.copytree(drawn_photos, tmp_path / "photos")


@pytest.fixture
def make_info() -> Any:
    """`build_info`, as a factory."""
    return build_info


@pytest.fixture
def make_rows() -> Any:
    """`build_rows`, as a factory."""
    return build_rows


@pytest.fixture
def make_cache(tmp_path: Path) -> Any:
    """Write a cache of two separable classes without any network; a factory."""

    def make(
        name: str = "cache.h5",
        *,
        n_train: Any = 40,
        n_val: Any = 20,
        groups: Any = None,
        splits: Any = True,
        infos: Any = None,
        seed: Any = 0,
    ) -> Any:
        n_rows = n_train + n_val
        labels = ["ants" if i % 2 else "bees" for i in range(n_rows)]
        parts: list[Split | None] = [
            ("train" if i < n_train else "val") if splits else None for i in range(n_rows)
        ]
        infos = infos or [build_info()]
        rng = np.random.default_rng(seed)
        sides = np.where(np.array(labels) == "ants", 2.0, -2.0)[:, None]
        vectors = {
            info.name: (rng.normal(size=(n_rows, info.fingerprint.dim)) + sides).astype(np.float32)
            for info in infos
        }
        path = tmp_path / name
        return write_vectors(path, infos, build_rows(labels, parts, groups), vectors)

    return make


@pytest.fixture
def cache_path(make_cache: Any) -> Any:
    """A cache of 40 train and 20 val rows: classes ants and bees, one embedding of dim 8."""
    return make_cache()


@pytest.fixture(scope="session")
def tiny_backbone() -> Any:
    """Name of a registered network of a few hundred weights: 32 pixels, dim 8, layer conv dim 4."""
    import torch
    from torch import nn
    from torchvision import transforms

    from featx.backbones.custom import register_backbone

    layers: dict[str, Any] = {
        "conv": nn.Conv2d(3, 4, 5, stride=4),
        "relu": nn.ReLU(),
        "last": nn.Conv2d(4, 8, 3, stride=2),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in (layers["conv"], layers["last"]):
            layer.reset_parameters()
    steps = [transforms.Resize(36), transforms.CenterCrop(32), transforms.ToTensor()]
    name = "tests-tiny"
    register_backbone(name, nn.Sequential(OrderedDict(layers)), transform=transforms.Compose(steps))
    return name


def shrink(image: Any) -> Any:
    """Give 8 x 8 pixels of 0..1; refuse a wide picture."""
    import torch

    if image.width > 4 * image.height:
        raise ValueError("too\nwide")
    return torch.from_numpy(np.asarray(image.resize((8, 8)), np.float32).transpose(2, 0, 1) / 255)


@pytest.fixture(scope="session")
def picky() -> Any:
    """A backbone that gives each channel's mean, and NaN for a black picture, as 0 / 0."""
    from torch import nn

    class MeanOrNan(nn.Module):
        def forward(self, batch: Any) -> Any:
            mean = batch.mean((2, 3))
            return mean * (mean / mean)

    # Its build_example is a black picture, whose NaN is no matter: only the shape counts.
    featx.register_backbone("tests-picky", MeanOrNan(), transform=shrink)
    return featx.load_backbone("tests-picky")


@pytest.fixture
def good(tmp_path: Path, make_image: Any) -> Any:
    """Six good images in a folder."""
    return [make_image(tmp_path / f"photos/good{i}.png", seed=i) for i in range(6)]


@pytest.fixture
def mixed(tmp_path: Path, good: Any, make_image: Any) -> Any:
    """A folder of six good images and one that `picky` fails on at each stage, between them."""
    folder = tmp_path / "photos"
    (folder / "good0_read.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "good1_decode.jpg").write_text("not\nfound")
    make_image(folder / "good2_preprocess.png", size=(300, 1))
    Image.new("RGB", (40, 30)).save(folder / "good3_embed.png")
    return folder


@pytest.fixture(scope="session")
def drawn_cache(drawn_photos: Path, tiny_backbone: str) -> Any:
    """The cache of `drawn_photos` by `tiny_backbone`."""
    from featx.extraction.extract import extract

    path = drawn_photos.with_suffix(".h5")
    extract(drawn_photos, path, backbone=tiny_backbone, batch_size=4, progress=False)
    return path


@pytest.fixture
def photos_cache(photos: Path, drawn_photos: Path, drawn_cache: Path, tmp_path: Path) -> Any:
    """The cache of `photos` by `tiny_backbone`, as an extraction writes it."""

    def move(text: str) -> str:
        return text.replace(str(drawn_photos), str(photos))

    with Cache(drawn_cache) as cache:
        rows = cache.read_rows()
        info, source = cache.get_info(), move(cache.source)
        vectors = cache.read_vectors()
    rows = rows.replace(path=Texts.from_list([move(path) for path in rows["path"]]))
    info = replace(info, provenance=replace(info.provenance, source=source))
    column = Column(info=info, dtype="float32", read=lambda some: vectors[some])
    write_cache(tmp_path / "photos.h5", rows, [column], source=source)
    return tmp_path / "photos.h5"


@pytest.fixture(scope="session")
def watch_batches() -> Any:
    """In a ``with`` block, call ``act(number)`` where a batch is waited for; a factory.

    Batches are waited for one by one and in their order, whichever engine runs: what is raised for
    one leaves all before it done. It is called in the thread that feeds the network.
    """
    from featx.embedding.options import RunOptions

    @contextmanager
    def watch(act: Any) -> Iterator[Any]:
        build_engine, numbers = RunOptions.build_engine, itertools.count()

        def act_and_wait(wait: Any) -> Any:
            act(next(numbers))
            return wait()

        def build_watched(*args: Any, **options: Any) -> Any:
            engine = build_engine(*args, **options)
            for slot in engine.slots:
                setattr(slot, "wait", partial(act_and_wait, slot.wait))  # noqa: B010
            return engine

        with patch.object(RunOptions, "build_engine", build_watched):
            yield

    return watch


@dataclass(frozen=True)
class CliResult:
    """What a command left behind."""

    code: int | str
    out: str
    err: str

    def check_error(self, message: str, code: int = 1) -> None:
        """See that it was an error told in one line, with this in it."""
        assert self.code == code
        assert len(self.err.splitlines()) == 1
        assert self.err.startswith("featx: ")
        assert message in self.err
        assert self.out == ""

    def list_notes(self) -> Any:
        """List what an extraction said on stderr, before the two lines on its time; these as well.

        How long it took is no test's business, but that it is told.
        """
        *notes, shares, advice = self.err.splitlines()
        assert re.fullmatch(r"featx: \w+ fp32 on [\w:]+: ready after .* s; CPU time: .*", shares)
        assert advice.startswith("featx: ")
        return notes


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command in this process, without lines of progress, which come after a second."""

    def run(*arguments: Any) -> Any:
        from featx.cli import main

        capsys.readouterr()
        code: int | str = 0
        try:
            main(["--no-progress", *(str(argument) for argument in arguments)])
        except SystemExit as end:
            code = end.code or 0
        streams = capsys.readouterr()
        return CliResult(code, streams.out, streams.err)

    return run


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, started once; for pages, see `tests.report.browser`."""
    from tests.report.browser import Browser, find_chromium

    with Browser(find_chromium(), tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="session")
def axe() -> str:
    """Text of axe-core."""
    from tests.report.browser import read_axe

    return read_axe()
