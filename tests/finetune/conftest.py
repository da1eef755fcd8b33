"""A trunk to run over a few pictures."""

import os
from dataclasses import replace
from hashlib import sha256

import pytest

from featx.backbones.load import load_backbone
from featx.embedding.options import RunOptions
from featx.finetune.cut import cut_backbone
from featx.finetune.trunk import TrunkRun
from featx.images.sources.read import read_manifest


@pytest.fixture(scope="module")
def lenet():
    return load_backbone("lenet5")


@pytest.fixture
def folder(tmp_path, make_image):
    """Eleven pictures of several sizes, written long ago: what is new is read twice."""
    for number in range(11):
        path = make_image(tmp_path / f"photos/{number:02}.png", (40 + number, 34), seed=number)
        os.utime(path, (1e9, 1e9))
    return tmp_path / "photos"


@pytest.fixture
def build_run(folder, lenet):
    """Build a run over the folder; changes are fields of it. A factory."""

    def build(n_top=2, backbone=lenet, **changes):
        manifest = read_manifest(folder)
        files = [entry.content.read() for entry in manifest.entries]
        run = TrunkRun(
            cut_backbone(backbone, n_top).trunk,
            manifest.source,
            manifest.entries,
            tuple(sha256(data).hexdigest() for data in files),
            RunOptions(engine="torch", device="cpu", batch_size=4, workers=2, progress=False),
            "fp32",
            "exact",
            0,
        )
        return replace(run, **changes)

    return build
