"""The decision which weights a word stands for."""

from pathlib import Path
from typing import Any

import pytest

from featx.backbones.weights import WeightsChoice, choose_weights, resolve_weights, split_key
from featx.core.errors import WeightsError

from .builders import build_entry

ENTRIES = (build_entry("IMAGENET1K_V1"), build_entry("IMAGENET1K_V2"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DEFAULT", WeightsChoice(entry=ENTRIES[1])),
        ("IMAGENET1K_V1", WeightsChoice(entry=ENTRIES[0])),
        ("IMAGENET1K_V2", WeightsChoice(entry=ENTRIES[1])),
        ("random:0", WeightsChoice(seed=0)),
        ("random:17", WeightsChoice(seed=17)),
    ],
)
def test_choose_weights_word_means_its_choice(text: str, expected: Any) -> None:
    assert choose_weights(text, ENTRIES, backbone="tiny") == expected


@pytest.mark.parametrize("text", ["mine.bin", "~/mine.pth", "IMAGENET1K_V1x"])
def test_choose_weights_file_means_the_file(text: str) -> None:
    file = Path("/somewhere/mine.pth")
    assert choose_weights(text, ENTRIES, backbone="tiny", file=file) == WeightsChoice(file=file)


@pytest.mark.parametrize("text", ["DEFAULT", "IMAGENET1K_V1", "random:1"])
def test_choose_weights_word_comes_before_a_file_of_its_name(text: str) -> None:
    choice = choose_weights(text, ENTRIES, backbone="tiny", file=Path("/somewhere") / text)
    assert choice.file is None


@pytest.mark.parametrize(
    ("text", "file", "expected"),
    [
        ("DEFAULT", None, WeightsChoice()),
        ("DEFAULT", Path("DEFAULT"), WeightsChoice()),
        ("mine.pth", Path("mine.pth"), WeightsChoice(file=Path("mine.pth"))),
    ],
)
def test_choose_weights_of_a_network_with_its_own(
    text: str, file: Path | None, expected: WeightsChoice
) -> None:
    choice = choose_weights(text, (), backbone="mine", file=file, has_own_weights=True)
    assert choice == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "random:0",
            r"mine: expected DEFAULT \(its own weights\) or a file, got random:0\. ",
        ),
        (
            "IMAGENET1K_V1",
            r"weights: expected weights of mine \(DEFAULT, a file\), got 'IMAGE",
        ),
    ],
)
def test_choose_weights_of_a_network_with_its_own_other_word_is_refused(
    text: str, message: str
) -> None:
    with pytest.raises(WeightsError, match=f"^{message}"):
        choose_weights(text, (), backbone="mine", has_own_weights=True)


@pytest.mark.parametrize("name", ["gone.pth", "gone.pt", "gone.safetensors"])
def test_choose_weights_missing_file_is_refused(name: str) -> None:
    with pytest.raises(
        WeightsError, match=rf"{name}: expected a file of weights, got no such file"
    ):
        choose_weights(f"/nowhere/{name}", ENTRIES, backbone="tiny")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run.pth:model_ema", ("run.pth", "model_ema")),
        ("~/a:b/run.safetensors:net.module", ("~/a:b/run.safetensors", "net.module")),
        ("C:\\run.pth", ("C:\\run.pth", "")),
        ("C:\\run.pth:model", ("C:\\run.pth", "model")),
        ("run.pth:.", ("run.pth", ".")),
        ("run.pth:", ("run.pth:", "")),
        ("/gone.pth:v2/run.bin", ("/gone.pth:v2/run.bin", "")),
        ("run.bin:model", ("run.bin:model", "")),
        ("there.bin:model", ("there.bin", "model")),
        ("there:7.pth", ("there:7.pth", "")),
        ("random:7", ("random:7", "")),
        ("DEFAULT", ("DEFAULT", "")),
    ],
)
def test_split_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("there.bin", "there:7.pth", "there", "random"):
        (tmp_path / name).touch()
    assert split_key(text) == expected


def test_resolve_weights_is_the_same_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.pth").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve_weights("run.pth:model") == f"{tmp_path}/run.pth:model"
    assert resolve_weights(f"{tmp_path}/run.pth:model") == f"{tmp_path}/run.pth:model"
    assert resolve_weights("run.pth") == f"{tmp_path}/run.pth"


def test_choose_weights_missing_file_with_a_key_is_refused_as_a_file() -> None:
    with pytest.raises(
        WeightsError, match=r"gone\.pth:ema: expected a file of weights, got no such"
    ):
        choose_weights("gone.pth:ema", ENTRIES, backbone="tiny")


@pytest.mark.parametrize("text", ["IMAGENET", "random", "random:-1", "random:x", "", "."])
def test_choose_weights_other_word_is_refused_with_those_known(text: str) -> None:
    known = r"DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2, random:SEED, a \.pth file"
    message = rf"^weights: expected weights of tiny \({known}\), got '{text}'"
    with pytest.raises(WeightsError, match=message):
        choose_weights(text, ENTRIES, backbone="tiny")


@pytest.mark.parametrize(
    ("text", "index"), [("default", -1), ("imagenet1k_v1", 0), ("ImageNet1K_V2", 1)]
)
def test_choose_weights_takes_a_name_in_any_case(text: str, index: int) -> None:
    assert choose_weights(text, ENTRIES, backbone="tiny").entry == ENTRIES[index]


def test_choose_weights_mistyped_name_shows_the_nearest() -> None:
    with pytest.raises(WeightsError, match="Nearest: IMAGENET1K_V2"):
        choose_weights("IMAGENET1K-V2", ENTRIES, backbone="tiny")


def test_choose_weights_default_without_named_weights_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"random:SEED, a \.pth file\), got 'DEFAULT'") as it:
        choose_weights("DEFAULT", (), backbone="tiny")
    assert it.value.remedy == "Pass weights=FILE with weights of this backbone."


def test_weights_entry_file_name_and_digest_come_from_its_url() -> None:
    entry = build_entry(url="https://host/models/mnasnet0.5_top1_67.823-3ffadce67e.pth")
    assert entry.file_name == "mnasnet0.5_top1_67.823-3ffadce67e.pth"
    assert entry.digest_prefix == "3ffadce67e"
