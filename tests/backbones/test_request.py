"""What is asked of a backbone, and the decision what to load for it. No network is built."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from featx.backbones.metadata import WeightsMetadata
from featx.backbones.preprocess import ImageClassification, Preprocess
from featx.backbones.request import (
    BackboneRequest,
    LoadPlan,
    build_request,
    check_size,
    choose_preprocess,
    plan_loading,
)
from featx.backbones.spec import BackboneSpec
from featx.backbones.weights import WeightsChoice, WeightsEntry
from featx.core.errors import BackboneError, WeightsError
from featx.core.provenance import Origin

from .builders import build_entry, build_preset

V1 = build_entry("IMAGENET1K_V1", "https://host/tiny-11111111.pth", size=11)
V2 = build_entry("IMAGENET1K_V2", "https://host/tiny-22222222.pth", size=22)
OTHER = build_entry("OTHER", "https://host/tiny-33333333.pth", size=33)
OWN = build_preset(99)


def build_spec(
    *entries: WeightsEntry, preprocess: Preprocess | None = None, has_own_weights: bool = False
) -> BackboneSpec:
    return BackboneSpec(
        name="tiny",
        dim=4,
        paper="",
        build=nn.Identity,
        list_weights=lambda: entries,
        preprocess=preprocess,
        has_own_weights=has_own_weights,
    )


# --- build_request


def test_build_request_without_options_asks_for_the_defaults() -> None:
    assert build_request("mini") == BackboneRequest(name="mini")


def test_build_request_of_no_layers_asks_for_the_default_layer() -> None:
    assert build_request("mini", layers=[]).layers == ("penultimate",)


@pytest.mark.parametrize("text", ["{folder}/mine.bin", "~/mine.bin", "mine.bin"])
def test_build_request_finds_the_file(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.bin").touch()
    request = build_request("mini", weights=text.format(folder=tmp_path))
    assert request.file is not None
    assert request.file.resolve() == (tmp_path / "mine.bin").resolve()


@pytest.mark.parametrize("text", ["DEFAULT", "random:0", "gone.pth", ".", ""])
def test_build_request_of_another_word_has_no_file(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert build_request("mini", weights=text).file is None


@pytest.mark.parametrize("size", [None, 1, 224, 4096])
def test_check_size_within_its_bounds_is_accepted(size: int | None) -> None:
    check_size(size)


def test_build_request_size_of_numpy_is_a_plain_number() -> None:
    assert type(build_request("mini", size=np.int64(64)).size) is int  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [-224, 0, 4097, 5000, 224.5, "224"])
def test_build_request_size_out_of_bounds_is_refused(size: Any) -> None:
    with pytest.raises(BackboneError, match=rf"^size: expected 1 to 4096 pixels, got {size!r}\. "):
        build_request("mini", size=size)


# --- choose_preprocess


@pytest.mark.parametrize(
    ("spec", "choice", "name", "expected"),
    [
        (build_spec(V1, V2), WeightsChoice(entry=V2), None, "IMAGENET1K_V2"),
        (build_spec(V1, V2), WeightsChoice(entry=V1), None, "IMAGENET1K_V1"),
        (build_spec(V1, V2), WeightsChoice(entry=V2), "IMAGENET1K_V1", "IMAGENET1K_V1"),
        (build_spec(V1, V2), WeightsChoice(entry=V2), "imagenet1k_v1", "IMAGENET1K_V1"),
        (build_spec(V1, V2, preprocess=OWN), WeightsChoice(entry=V2), None, "IMAGENET1K_V2"),
        (build_spec(V1, V2, preprocess=OWN), WeightsChoice(seed=0), None, None),
        (build_spec(V1, V2, preprocess=OWN), WeightsChoice(seed=0), "OTHER", WeightsError),
        (build_spec(preprocess=OWN), WeightsChoice(), None, None),
        (build_spec(preprocess=OWN), WeightsChoice(file=Path("m.pth")), None, None),
        (build_spec(V1, V2), WeightsChoice(seed=0), None, "IMAGENET1K_V1"),
        (build_spec(V2, V1), WeightsChoice(seed=0), None, "IMAGENET1K_V1"),
        (build_spec(V2, OTHER), WeightsChoice(seed=0), None, "OTHER"),
        (build_spec(V1, V2), WeightsChoice(file=Path("mine.pth")), None, "IMAGENET1K_V1"),
        (build_spec(V1, V2), WeightsChoice(file=Path("a/tiny-22222222.pth")), None, V2.name),
        (build_spec(V1, V2), WeightsChoice(file=Path("a/tiny-22222222.pth")), V1.name, V1.name),
    ],
)
def test_choose_preprocess_decides(
    spec: BackboneSpec,
    choice: WeightsChoice,
    name: str | None,
    expected: str | type[WeightsError] | None,
) -> None:
    if expected is WeightsError:
        with pytest.raises(WeightsError, match=f"^preprocess: expected weights of tiny.*'{name}'"):
            choose_preprocess(spec, choice, name)
        return
    preprocess, preprocess_from = choose_preprocess(spec, choice, name)
    by_name = {entry.name: entry.preprocess for entry in spec.list_weights()}
    assert preprocess_from == expected
    assert preprocess == (OWN if preprocess_from is None else by_name[preprocess_from])


# --- plan_loading


def build_metadata(
    backbone: str = "tiny", preprocess_from: str | None = "IMAGENET1K_V2", size: int | None = None
) -> WeightsMetadata:
    return WeightsMetadata(backbone=backbone, preprocess_from=preprocess_from, size=size)


def plan(
    metadata: WeightsMetadata | None, *, preprocess: str | None = None, size: int | None = None
) -> LoadPlan:
    file = Path("mine.safetensors")
    request = BackboneRequest(
        name="tiny", weights=str(file), file=file, preprocess=preprocess, size=size
    )
    return plan_loading(request, build_spec(V1, V2), WeightsChoice(file=file), metadata)


@pytest.mark.parametrize(
    ("metadata", "asked", "expected"),
    [
        (None, {}, ("IMAGENET1K_V1", None, 11)),
        (None, {"size": 96}, ("IMAGENET1K_V1", 96, 96)),
        (build_metadata(), {}, ("IMAGENET1K_V2", None, 22)),
        (build_metadata(size=64), {}, ("IMAGENET1K_V2", 64, 64)),
        (build_metadata(size=64), {"size": 96}, ("IMAGENET1K_V2", 96, 96)),
        (build_metadata(size=64), {"preprocess": "IMAGENET1K_V1"}, ("IMAGENET1K_V1", 64, 64)),
        (build_metadata(preprocess_from=None), {}, ("IMAGENET1K_V1", None, 11)),
    ],
)
def test_plan_loading_arguments_come_before_metadata(
    metadata: WeightsMetadata | None,
    asked: dict[str, str | int],
    expected: tuple[str, int | None, int],
) -> None:
    size, preprocess = asked.get("size"), asked.get("preprocess")
    assert isinstance(size, int | None)
    assert isinstance(preprocess, str | None)
    found = plan(metadata, size=size, preprocess=preprocess)
    assert isinstance(found.preprocess, ImageClassification)
    assert (
        found.origin.preprocess_from,
        found.origin.size,
        found.preprocess.crop_size,
    ) == expected
    assert found.origin.weights == str(Path("mine.safetensors").resolve())


def test_plan_loading_of_named_weights_keeps_their_word() -> None:
    request = BackboneRequest(name="tiny", weights="DEFAULT")
    found = plan_loading(request, build_spec(V1, V2), WeightsChoice(entry=V2), None)
    assert found.origin == Origin(weights="DEFAULT", preprocess_from="IMAGENET1K_V2")
    assert found.preprocess == V2.preprocess


def test_plan_loading_metadata_of_another_backbone_are_refused_with_its_name() -> None:
    message = (
        r"^mine\.safetensors: expected weights of tiny, got weights of mini\. "
        r"Pass backbone='mini'\.$"
    )
    with pytest.raises(WeightsError, match=message):
        plan(build_metadata(backbone="mini"))


@pytest.mark.parametrize("size", [-1, 5000])
def test_plan_loading_size_of_metadata_out_of_bounds_is_refused(size: int) -> None:
    with pytest.raises(BackboneError, match=rf"size: expected 1 to 4096 pixels, got {size}"):
        plan(build_metadata(size=size))
