"""Tensors by name: what a file may hold, and what fits a network."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from featx.backbones.state_dict import digest_weights, load_into, read_state_dict
from featx.core.errors import WeightsError

from .builders import build_network


def cut(network: Any) -> Any:
    network.fc = nn.Identity()
    return network


# --- read_state_dict


def check_equal(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert set(state) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_read_state_dict_gives_the_tensors(tmp_path: Path, suffix: str) -> None:
    state = build_network().state_dict()
    file = tmp_path / f"mine{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(dict(state), file)
    check_equal(read_state_dict(file), state)


def test_read_state_dict_gives_the_tensors_of_a_checkpoint_by_its_keys(tmp_path: Path) -> None:
    first, second = build_network(1).state_dict(), build_network(2).state_dict()
    torch.save({"a": {"b": first, "lr": 0.1}, "ema": second, "epoch": 3}, tmp_path / "c.pth")
    expected = {f"a.b.{name}": tensor for name, tensor in first.items()}
    expected |= {f"ema.{name}": tensor for name, tensor in second.items()}
    check_equal(read_state_dict(tmp_path / "c.pth"), expected)


@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
@pytest.mark.parametrize("data", [b"", b"no weights at all\n" * 9], ids=["empty", "text"])
def test_read_state_dict_other_file_is_refused_in_one_line(
    tmp_path: Path, name: str, data: Any
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=rf"{name}: expected a state dict .*, got [^\n]+\Z"):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([1, 2], "an object of type list, or an empty one"),
        ({}, "an object of type dict, or an empty one"),
        (torch.zeros(2), "an object of type Tensor, or an empty one"),
        (
            {"epoch": 3, "optimizer": {"lr": 0.1}, "best": 0.9, "\x1b[31m": [torch.zeros(2)]},
            "a dict without tensors, with the keys epoch, optimizer, best and 1 more",
        ),
    ],
    ids=["list", "empty", "tensor", "keys"],
)
def test_read_state_dict_of_no_tensors_by_name_is_refused(
    tmp_path: Path, value: Any, got: str
) -> None:
    torch.save(value, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"expected a state dict \(tensors by name\)") as caught:
        read_state_dict(tmp_path / "mine.pth")
    assert caught.value.got == got


def test_read_state_dict_that_holds_itself_ends(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"a": torch.zeros(2)}
    loop["self"] = loop
    torch.save(loop, tmp_path / "mine.pth")
    assert "self.self.a" in read_state_dict(tmp_path / "mine.pth")
    wide: dict[str, Any] = {f"{n}": 0 for n in range(30)}
    wide |= {"x": wide, "y": wide, "z": wide}
    torch.save(wide, tmp_path / "wide.pth")
    with pytest.raises(WeightsError, match="got more than 1000000 values"):
        read_state_dict(tmp_path / "wide.pth")


class Hook:
    """A value that leaves a trace if it is built."""

    n_built = 0

    def __init__(self) -> None:
        type(self).n_built += 1

    def __setstate__(self, state: object) -> None:
        type(self).n_built += 1


def test_read_state_dict_passes_over_options_and_scores_of_the_training(tmp_path: Path) -> None:
    beside = {
        "args": argparse.Namespace(lr=0.1, output=Path("runs"), sizes=[1, 2]),
        "best": np.float64(0.9),
        "curve": np.arange(3.0),
        "options": SimpleNamespace(lr=0.1),
        "epoch": 3,
    }
    state = dict(build_network().state_dict())
    torch.save({"model": state, **beside}, tmp_path / "mine.pth")
    allowed = torch.serialization.get_safe_globals()
    found = read_state_dict(tmp_path / "mine.pth")
    check_equal(found, {f"model.{name}": tensor for name, tensor in state.items()})
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


def test_read_state_dict_builds_nothing_inside_options(tmp_path: Path) -> None:
    before = Hook.n_built
    torch.save({"args": argparse.Namespace(hook=Hook()), "a": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(
        WeightsError, match=r"more than tensors \(\w+\.backbones\.test_state_dict\.Hook"
    ):
        read_state_dict(tmp_path / "x.pth")
    assert Hook.n_built == before + 1


def test_read_state_dict_truncated_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.save(build_network().state_dict(), file)
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(WeightsError, match="expected a state dict"):
        read_state_dict(file)


class Malicious:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.path), "w")


def test_read_state_dict_pickle_of_other_objects_is_refused_and_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    torch.save({"fc.weight": torch.zeros(2), "hook": Malicious(proof)}, tmp_path / "mine.pth")
    with pytest.raises(
        WeightsError, match=r", got a pickle that holds more than tensors \("
    ) as caught:
        read_state_dict(tmp_path / "mine.pth")
    assert not proof.exists()
    assert "weights_only" not in str(caught.value)


def test_read_state_dict_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(build_network(), tmp_path / "mine.pth")
    with pytest.raises(
        WeightsError, match=r"Save it with torch\.save\(model\.state_dict\(\), path"
    ):
        read_state_dict(tmp_path / "mine.pth")


# --- load_into


def test_load_into_puts_every_tensor_in() -> None:
    state = build_network(seed=1).state_dict()
    network = cut(build_network(seed=2))
    load_into(network, state, ignored=["fc"], subject="mine.pth")
    check_equal(network.state_dict(), {n: t for n, t in state.items() if not n.startswith("fc")})


@pytest.mark.parametrize("n_classes", [1, 7])
def test_load_into_classifier_of_any_class_count_is_passed_over(n_classes: int) -> None:
    state = build_network(seed=1, n_classes=n_classes).state_dict()
    network = cut(build_network(seed=2))
    load_into(network, state, ignored=["fc"], subject="mine.pth")
    assert torch.equal(network.conv.weight, state["conv.weight"])


def test_load_into_file_without_classifier_is_fine() -> None:
    state = cut(build_network(seed=1)).state_dict()
    network = cut(build_network(seed=2))
    load_into(network, state, ignored=["fc"], subject="mine.pth")
    assert torch.equal(network.conv.weight, state["conv.weight"])


def test_load_into_counts_of_batches_may_lack() -> None:
    state = build_network(seed=1).state_dict()
    del state["bn.num_batches_tracked"]
    network = cut(build_network(seed=2))
    load_into(network, state, ignored=["fc"], subject="mine.pth")
    assert torch.equal(network.conv.weight, state["conv.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn.running_mean": None}, "got missing: bn.running_mean. Check"),
        (
            {"conv.weight": torch.zeros(4, 3, 5, 5)},
            r"got misshapen: conv\.weight \(4, 3, 5, 5\) instead of \(4, 3, 3, 3\)\. Check",
        ),
        ({"conv2.weight": torch.zeros(2)}, "got unknown: conv2.weight. Check"),
        (
            {f"conv{i}.weight": torch.zeros(2) for i in range(2, 7)},
            "got unknown: conv2.weight, conv3.weight, conv4.weight and 2 more. Check",
        ),
        (
            {"conv.weight": None, "conv.bias": torch.zeros(9), "conv2.weight": torch.zeros(2)},
            r"got missing: conv\.weight; misshapen: conv\.bias \(9,\) instead of \(4,\); "
            r"unknown: conv2\.weight\. Check",
        ),
    ],
    ids=["missing", "misshapen", "unknown", "many", "all of them"],
)
def test_load_into_other_tensors_are_refused_by_name(change: Any, message: str) -> None:
    state = build_network().state_dict() | change
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    network = cut(build_network())
    with pytest.raises(WeightsError, match=f"^mine.pth: expected the 7 tensors .*{message}"):
        load_into(network, state, ignored=["fc"], subject="mine.pth")


def test_load_into_refused_file_changes_nothing() -> None:
    state = build_network(seed=1).state_dict() | {"conv2.weight": torch.zeros(2)}
    network = cut(build_network(seed=2))
    before = digest_weights(network)
    with pytest.raises(WeightsError, match="unknown"):
        load_into(network, state, ignored=["fc"], subject="mine.pth")
    assert digest_weights(network) == before


# --- digest_weights


def test_digest_weights_equal_tensors_give_equal_digests() -> None:
    assert digest_weights(build_network(1)) == digest_weights(build_network(1))


def test_digest_weights_another_value_gives_another_digest() -> None:
    network = build_network(1)
    before = digest_weights(network)
    with torch.no_grad():
        network.conv.bias[0] += 1e-6
    assert digest_weights(network) != before


def test_digest_weights_count_of_batches_does_not_matter() -> None:
    network = build_network(1)
    before = digest_weights(network)
    network.bn.num_batches_tracked += 1
    assert digest_weights(network) == before
