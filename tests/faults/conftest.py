"""A folder of photos, and a server that runs extractions over it and ends them."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featx.cache.format import open_sealed, read_table
from featx.cache.reader import open_cache
from featx.cache.seal import check_seal
from featx.cache.shards import KIND
from featx.errors import CacheError
from featx.rows import Row

N_PHOTOS = 160


def find_photos():
    beside = Path(__file__).resolve().parents[2].parent / "shared"
    folder = Path(os.environ.get("FEATX_SHARED", beside)) / "data" / "hymenoptera_data"
    return sorted(folder.glob("*/*/*.jpg"))


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory):
    """160 real photos in class folders, or as many generated ones; two are damaged, two equal."""
    folder = tmp_path_factory.mktemp("faults") / "photos"
    real = find_photos()[:N_PHOTOS]
    rng = np.random.default_rng(0)
    for number in range(N_PHOTOS):
        path = folder / f"class{number % 3}" / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if real:
            shutil.copyfile(real[number], path)
        else:
            from PIL import Image

            pixels = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path, quality=90)
    for number in (17, 80):
        path = folder / f"class{number % 3}" / f"{number:03}.jpg"
        path.write_bytes(path.read_bytes()[:500])
    shutil.copyfile(folder / "class0" / "000.jpg", folder / "class1" / "again.jpg")
    return folder


class Server:
    """The other end of server.py."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        )
        assert self._process.stdout.readline() == "ready\n"

    def run(self, words, log, **order):
        """Run a featx command; ended after so many seconds by a signal, if it runs that long."""
        order |= {"words": [str(word) for word in words], "log": str(log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


def extract_words(source, output, *more):
    return ["extract", source, "-o", output, "--backbone", "mini", "--shard-seconds", "0.05", *more]


def read_content(path):
    """All that must be equal to the last byte: ids, labels, digests, sizes, ledger, vectors."""
    with open_cache(path) as cache:
        ledger = [(f.id, f.digest, f.stage, f.reason) for f in cache.failures]
        columns = cache.ids, cache.labels, cache.digests, cache.sizes
        vectors = [cache.read_vectors(name).tobytes() for name in cache.names]
        return [column.tolist() for column in columns], ledger, vectors, cache.names


def read_finished(output):
    """Digests of all contents that lie in sealed shards."""
    finished = set()
    for path in output.with_name(output.name + ".partial").glob("shard-*.h5"):
        try:
            check_seal(path)
        except CacheError as error:  # a shard has its name only once it is whole
            pytest.fail(str(error))
        with open_sealed(path, KIND) as (file, _):
            digests = [row.digest for row in read_table(file["rows"], Row)]
        assert finished.isdisjoint(digests), "a content lies in two shards"
        finished.update(digests)
    return finished


def read_log(log):
    return log.read_text().split() if log.exists() else []


def draw_delay(rng, whole):
    """Draw a moment: half of them anywhere, half of them near the end, where files are joined."""
    return rng.uniform(0, whole) if rng.random() < 0.5 else rng.uniform(0.75 * whole, 1.05 * whole)


class Killing:
    """Extractions that are ended at random moments and called again until they are done."""

    def __init__(self, server, folder, tmp_path, seed, ending="SIGKILL"):
        self.server, self.tmp_path, self.ending = server, tmp_path, ending
        self.rng = random.Random(seed)
        self.output = tmp_path / "photos.h5"
        self.folder = folder
        reference = tmp_path / "reference.h5"
        log = tmp_path / "reference.log"
        done = server.run(extract_words(folder, reference), log)
        assert done["code"] == 0, done["stderr"]
        self.whole_s = done["seconds"]
        self.reference = read_content(reference)
        self.previous = None
        self.n_ended = 0
        self.n_done = 0

    def call(self):
        """Extract, ended at a random moment; check what is there afterwards. True when done."""
        finished = read_finished(self.output)
        log = self.tmp_path / f"{self.n_ended}-{self.n_done}.log"
        done = self.server.run(
            extract_words(self.folder, self.output),
            log,
            after=draw_delay(self.rng, self.whole_s),
            signal=self.ending,
        )
        decoded = read_log(log)
        assert finished.isdisjoint(decoded), "a finished shard was computed again"
        assert len(decoded) == len(set(decoded)), "decoded twice in one run"
        self._check_destination()
        if done["code"] == 0:
            assert read_content(self.output) == self.reference
            assert not self.output.with_name(self.output.name + ".partial").exists()
            self.n_done += 1
            return True
        assert done["code"] in (-9, 143), done["stderr"]
        self.n_ended += 1
        return False

    def _check_destination(self):
        """The file at its final path is the previous whole one, or the new whole one."""
        if not self.output.exists():
            assert self.previous is None
            return
        check_seal(self.output)
        assert read_content(self.output) in (self.previous, self.reference)

    def begin_anew(self):
        self.output.unlink()
        self.previous = None
