"""Every command prints one object, and the page on JSON lists its keys."""

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_group

from featx.cache.joined import open_cache
from featx.cli.app import app
from featx.fitting.fit import fit_head
from featx.fitting.label import label_cache
from featx.fitting.similar import MIN_HELD_OUT
from featx.report.explore import AtlasTable
from tests.builders import write_noisy

GROUP = get_group(app)
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"

TYPES = {bool: "truth", int: "number", float: "number", str: "text", list: "list", dict: "object"}

BY_NAME = {
    **dict.fromkeys(("labels", "splits", "dims", "embeddings", "params", "versions"), 1),
    **dict.fromkeys(("preprocess", "cpu_s", "waits_s", "recipe"), 1),
    **dict.fromkeys(("n_parameters_by_block", "decode_images_per_s"), 1),
    "counts": 2,
    "options": 2,
    "not_measured": 1,
}
"""Number of levels of an object whose keys are names."""

LINES = [
    "extract photos -o new.h5 --backbone tests-tiny",
    "merge new.h5 -o merged.h5",
    "split new.h5 --overwrite",
    "split new.h5 --overwrite --together similar",
    "split twins.h5 --overwrite --together similar",
    "label photos.h5 labels.csv --author ada",
    "fit-head photos.h5 -o new.joblib --repeats 2",
    "fit-head photos.h5 -o new_tags.joblib --several --split all",
    "fit-head photos.h5 -o new_size.joblib --target size --split all",
    "evaluate head.joblib photos.h5",
    "compare head.joblib --cache photos.h5",
    "compare photos.h5 --kinds nearest-mean",
    "evaluate tags.joblib photos.h5",
    "evaluate size.joblib photos.h5",
    "predict tags.joblib photos.h5",
    "predict size.joblib photos.h5",
    "predict head.joblib photos.h5",
    "predict head.joblib photos/val bad.jpg",
    "explain head.joblib photos/val bad.jpg",
    "classify photos/val bad.jpg --backbone lenet5",
    "audit noisy.h5 --table review.csv",
    "search photos.h5 val/ants/0.jpg",
    "montage photos.h5 -o classes.png",
    "plot confusion head.joblib photos.h5 -o confusion.svg",
    "plot calibration head.joblib photos.h5 -o calibration.svg",
    "plot curve large.h5 -o curve.svg",
    "plot map photos.h5 -o map.svg",
    "report photos.h5 head.joblib -o report.html",
    "info photos.h5",
    "info failed.h5 --failures",
    "info head.joblib",
    "export photos.h5 -o photos.npz",
    "import vectors.npy -o imported.h5",
    "backbones mobilenet_v2",
    "backbones mini --blocks",
    "suggest unlabelled.h5 --head head.joblib --previous few.joblib -n 2",
    "verify photos.h5",
    "advise large.h5",
]
"""Commands that take no longer than a second or two."""

LONG_LINES = [
    "verify photos.h5 --against photos",
    "extract photos -o lenet.h5 --backbone lenet5",
    "fine-tune photos --cache lenet.h5 -o t.safetensors --unfreeze 1 --epochs 1 --engine torch",
    "plot log t.log.csv -o log.svg",
    "info t.safetensors",
    "doctor photos --backbone lenet5 --device cpu",
    "demo",
]


def read_page() -> set[tuple[str, str]]:
    """Read the keys that the page lists, with their types."""
    lines = re.findall(r"^\| (`.*?) \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {(key, kind) for keys, kind in lines for key in re.findall(r"`(\w+)`", keys)}


def iter_keys(value: Any, *, n_named: int = 0) -> Iterator[tuple[str, str | None]]:
    """Yield the keys of a value and of all in it, with their types; None for the type of null."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not n_named:
                yield key, TYPES.get(type(item))
            below = n_named - 1 if n_named else BY_NAME.get(key, 0)
            yield from iter_keys(item, n_named=below)
    elif isinstance(value, list):
        for item in value:
            yield from iter_keys(item)


def check_keys(value: Any) -> None:
    assert isinstance(value, dict)
    page = read_page()
    names = {name for name, _ in page}
    for key, kind in iter_keys(value):
        assert (key, kind) in page or (kind is None and key in names), (key, kind)


@pytest.fixture
def place(
    photos: Path, photos_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Any
) -> Path:
    monkeypatch.chdir(tmp_path)
    head = fit_head("photos.h5", "head.joblib", C=1.0)
    few = dataclasses.replace(head.fitted_on, n_rows=head.fitted_on.n_rows - 1)
    dataclasses.replace(head, fitted_on=few).save("few.joblib")
    with open_cache("photos.h5") as cache:
        sizes = {key: number for number, key in enumerate(cache.ids)}
    shutil.copy("photos.h5", "unlabelled.h5")
    label_cache("unlabelled.h5", {f"train/ants/{n}.jpg": "" for n in range(4)}, author="ada")
    label_cache("photos.h5", sizes, field="size", author="ada")
    fit_head("photos.h5", "tags.joblib", several=True, C=1.0)
    fit_head("photos.h5", "size.joblib", target="size", C=1.0)
    write_noisy(Path("noisy.h5"))
    np.save("vectors.npy", np.eye(3, 2, dtype=np.float32))
    Path("bad.jpg").write_bytes(b"no image")
    Path("labels.csv").write_text("id,label,author\nval/ants/0.jpg,a,ada\nval/ants/0.jpg,b,bob\n")
    return tmp_path


def write_twins(run_cli: Any) -> None:
    """Write a cache whose val has an image of train, and rows enough to say what that is worth."""
    shutil.copytree("photos", "twins")
    for number in range(MIN_HELD_OUT):
        shutil.copy("twins/train/ants/0.jpg", f"twins/val/ants/copy{number}.jpg")
    run_cli("extract", "twins", "-o", "twins.h5", "--backbone", "tests-tiny")


def test_iter_keys_leaves_out_names_but_not_what_they_hold() -> None:
    found = {"labels": {"ants": 1}, "embeddings": {"mini": {"dim": 8}}, "list": [{"a": None}]}
    assert list(iter_keys(found)) == [
        ("labels", "object"),
        ("embeddings", "object"),
        ("dim", "number"),
        ("list", "list"),
        ("a", None),
    ]


@pytest.mark.parametrize("line", LINES)
def test_json_of_a_command_is_an_object_of_known_keys(
    place: Path, run_cli: Any, line: str, cache_path: Path
) -> None:
    if "new.h5" in line and line.startswith(("split", "merge")):
        run_cli("extract", "photos", "-o", "new.h5", "--backbone", "tests-tiny")
    if "failed.h5" in line:
        run_cli(*["extract", "photos", "bad.jpg", "-o", "failed.h5", "--backbone", "tests-tiny"])
    if "twins.h5" in line:
        write_twins(run_cli)
    line = line.replace("large.h5", str(cache_path))
    result = run_cli(*line.split(), "--json")
    assert result.code in (0, 3), result.err
    found = json.loads(result.out)
    check_keys(found)
    if "failed.h5" in line:
        assert [set(one) for one in found["failures"]] == [{"path", "lacks", "stage", "reason"}]


@pytest.mark.slow
def test_commands_long_ones_too_print_every_key_of_the_page_and_no_other(
    place: Path, run_cli: Any, cache_path: Path
) -> None:
    run_cli(*["extract", "photos", "bad.jpg", "-o", "failed.h5", "--backbone", "tests-tiny"])
    write_twins(run_cli)
    # The page that explore opens needs a package of its own.
    found = {field.name for field in dataclasses.fields(AtlasTable)}
    for line in [*LINES, *LONG_LINES, "info mine.pth"]:
        if "mine.pth" in line:
            import torch

            torch.save({"weight": torch.zeros(2)}, "mine.pth")
        result = run_cli(*line.replace("large.h5", str(cache_path)).split(), "--json")
        assert result.code in (0, 3), result.err
        told = json.loads(result.out)
        if line in LONG_LINES:  # the others have tests of their own
            check_keys(told)
        found |= {key for key, _ in iter_keys(told)}
    assert {key for key, _ in read_page()} - found == set()


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_command_takes_json(name: str) -> None:
    options = [option for one in GROUP.commands[name].params for option in one.opts]
    assert "--json" in options
