"""A folder of photos, and a server that runs extractions over it and ends them."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from featx.cache.joined import open_cache
from featx.cache.open import open_sealed
from featx.cache.seal import check_seal
from featx.cache.shards import KIND
from featx.cache.tables import read_column
from featx.core.digests import unpack_digests
from featx.core.errors import CacheError

N_PHOTOS = 160

ENDED = (-9, 130, 143, -2, -15)
"""Exit codes of a command that a signal has ended; the last two before featx has begun."""


@pytest.fixture(scope="module")
def photo_folder(
    tmp_path_factory: pytest.TempPathFactory, shared_path: Any, make_image: Any
) -> Any:
    """160 real photos in class folders, or as many generated ones; two are damaged, two equal."""
    folder = tmp_path_factory.mktemp("faults") / "photos"
    real = sorted((shared_path / "data" / "hymenoptera_data").glob("*/*/*.jpg"))[:N_PHOTOS]
    for number in range(N_PHOTOS):
        path = folder / f"class{number % 3}" / f"{number:03}.jpg"
        if real:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(real[number], path)
        else:
            make_image(path, (320, 240), seed=number)
    for number in (17, 80):
        path = folder / f"class{number % 3}" / f"{number:03}.jpg"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])  # beyond the header, which may be alike
    shutil.copyfile(folder / "class0" / "000.jpg", folder / "class1" / "again.jpg")
    return folder


class Server:
    """The other end of server.py.

    Parameters
    ----------
    modules : str
        Modules that the server imports once, which would be most of the time of a command.
    """

    def __init__(self, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py")), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        assert self._output.readline() == "ready\n"

    def run(self, words: Any, log: Any, **order: Any) -> Any:
        """Run a featx command; ended after so many seconds by a signal, if it runs that long."""
        order |= {"words": [str(word) for word in words], "log": str(log)}
        self._input.write(json.dumps(order) + "\n")
        self._input.flush()
        return json.loads(self._output.readline())

    def close(self) -> None:
        self._input.close()
        self._process.wait(60)
        self._output.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    server = Server("torch", "featx.embedding.decoding")
    yield server
    server.close()


def extract_words(source: Any, output: Any, *more: Any) -> Any:
    return ["extract", source, "-o", output, "--backbone", "mini", "--shard-seconds", "0.05", *more]


def read_content(path: Path) -> Any:
    """All that must be equal to the last byte: rows, what was said of them, ledger, vectors."""
    with open_cache(path) as cache:
        ledger = [(f.id, f.digest, f.stage, f.reason) for f in cache.failures]
        columns = cache.ids, cache.labels, cache.splits, cache.digests, cache.sizes
        said = repr(cache.read_history())
        vectors = [cache.read_vectors(name).tobytes() for name in cache.embeddings]
        return [column.tolist() for column in columns], said, ledger, vectors, cache.embeddings


def read_finished(output: Any) -> Any:
    """Digests of all contents that lie in sealed shards."""
    finished: set[str] = set()
    for path in output.with_name(output.name + ".partial").glob("shard-*.h5"):
        try:
            check_seal(path)
        except CacheError as error:  # a shard has its name only once it is whole
            pytest.fail(str(error))
        with open_sealed(path, KIND) as (file, _, _):
            stored: Any = read_column(file["rows"], "digest")
            digests = unpack_digests(stored)
        assert finished.isdisjoint(digests), "a content lies in two shards"
        finished.update(digests)
    return finished


def read_digests(output: Any) -> Any:
    """Digests of all contents that the cache has, if it is there."""
    if not output.exists():
        return set()
    with open_cache(output) as cache:
        return set(cache.digests.tolist())


def read_log(log: Any) -> Any:
    return log.read_text().split() if log.exists() else []


def draw_delay(rng: Any, whole: Any) -> Any:
    """Draw a moment: half of them anywhere, half of them near the end, where files are joined."""
    return rng.uniform(0, whole) if rng.random() < 0.5 else rng.uniform(0.75 * whole, 1.05 * whole)


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Where extractions begin, and what one that nobody ends makes of it."""

    cache: Path | None
    options: tuple[str, ...]
    previous: tuple[Any, ...] | None
    reference: tuple[Any, ...]
    whole_s: float


class Killing:
    """Extractions that are ended at random moments and called again until they are done.

    They begin with nothing, over the cache of a part of the source, and over the same cache to drop
    a row of it, in turns; people have said something of its rows. The moments follow the pace of
    the machine: an extraction that is ended gives the next one more time, one that is not, less.
    """

    def __init__(
        self, server: Any, photos: Path, tmp_path: Path, seed: Any, ending: Any = "SIGKILL"
    ) -> None:
        self.server, self.tmp_path, self.ending = server, tmp_path, ending
        self.rng = random.Random(seed)
        self.output = tmp_path / "photos.h5"
        self.folder = tmp_path / "photos"
        self.n_ended = 0
        self.n_done = 0
        self.slowness = 1.0
        # Of the two damaged and the two equal photos, one each is new to that cache.
        shutil.copytree(photos, self.folder, ignore=shutil.ignore_patterns("*[02468].jpg"))
        part, gone = tmp_path / "part.h5", self.folder / "class0" / "gone.png"
        Image.new("RGB", (40, 30)).save(gone)
        self._extract_whole(part)
        gone.unlink()
        said = tmp_path / "said.csv"
        said.write_text(
            "id,label,split\nclass0/003.jpg,wasps,\nclass2/005.jpg,,test\nclass0/gone.png,flies,\n"
        )
        for words in (["split", part], ["label", part, said]):
            done = server.run(words, tmp_path / "said.log")
            assert done["code"] == 0, done["stderr"]
        shutil.copytree(photos, self.folder, dirs_exist_ok=True)
        starts = [self._measure(None), self._measure(part), self._measure(part, "--prune")]
        self._beginnings = cycle(starts)
        self.begin_anew()

    def _extract_whole(self, output: Any, *options: str) -> Any:
        """Extract, ended by nobody; return the seconds."""
        words = extract_words(self.folder, output, *options)
        done = self.server.run(words, output.with_suffix(".log"))
        assert done["code"] == 0, done["stderr"]
        return done["seconds"]

    def _measure(self, cache: Any, *options: str) -> Any:
        output = self.tmp_path / "reference.h5"
        output.unlink(missing_ok=True)
        if cache is not None:
            shutil.copyfile(cache, output)
        seconds = self._extract_whole(output, *options)
        return Beginning(
            cache=cache,
            options=options,
            previous=None if cache is None else read_content(cache),
            reference=read_content(output),
            whole_s=seconds,
        )

    def call(self, *, is_ended: bool = True) -> Any:
        """Extract, ended at a random moment; check what is there afterwards. True when done."""
        finished = read_finished(self.output) | read_digests(self.output)
        log = self.tmp_path / f"{self.n_ended}-{self.n_done}.log"
        delay = draw_delay(self.rng, self.slowness * self.beginning.whole_s)
        order = {"after": delay, "signal": self.ending} if is_ended else {}
        words = extract_words(self.folder, self.output, *self.beginning.options)
        done = self.server.run(words, log, **order)
        decoded = read_log(log)
        assert finished.isdisjoint(decoded), "a finished shard was computed again"
        assert len(decoded) == len(set(decoded)), "decoded twice in one run"
        self._check_destination()
        if done["code"] == 0:
            assert read_content(self.output) == self.beginning.reference
            assert not self.output.with_name(self.output.name + ".partial").exists()
            self.n_done += 1
            self.slowness *= 0.8
            return True
        assert done["code"] in ENDED, done["stderr"]
        self.n_ended += 1
        self.slowness *= 1.05
        return False

    def _check_destination(self) -> None:
        """The file at its final path is the previous whole one, or the new whole one."""
        if not self.output.exists():
            assert self.beginning.cache is None
            return
        check_seal(self.output)
        there = read_content(self.output)
        assert there in (self.beginning.previous, self.beginning.reference)

    def begin_anew(self) -> None:
        """Go back to where the next extraction begins."""
        self.output.unlink(missing_ok=True)
        self.beginning = next(self._beginnings)
        if self.beginning.cache is not None:
            shutil.copyfile(self.beginning.cache, self.output)
