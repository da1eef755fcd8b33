"""A network is found among the names in a file, whatever wrapped it there."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from featx.backbones.build import build_network, load_weights
from featx.backbones.registry import get_backbone_spec
from featx.backbones.state_dict import digest_weights
from featx.backbones.wrapped import TOP, find_network, flatten, list_prefixes
from featx.core.errors import WeightsError

State = dict[str, torch.Tensor]

SPEC = get_backbone_spec("lenet5")


def build(seed: int = 1) -> nn.Module:
    """Build LeNet-5 with its classifier."""
    torch.manual_seed(seed)
    return SPEC.build()


def load(file: Path, key: str = "") -> str:
    """Load the weights of a file, and return the digest of the network."""
    network = build_network(SPEC, seed=0)
    load_weights(network, SPEC, file, key)
    return digest_weights(network)


@pytest.fixture(scope="module")
def state() -> State:
    return build().state_dict()


@pytest.fixture(scope="module")
def digest(state: State, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("plain") / "plain.pth"
    torch.save(state, file)
    return load(file)


def put_before(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def average(network: nn.Module) -> State:
    """Average a network as ``torch.optim.swa_utils`` does, with ``n_averaged`` and ``module.``."""
    return torch.optim.swa_utils.AveragedModel(network).state_dict()


def make_lightning(state: State) -> Any:
    head = {"head.weight": torch.zeros(9, 84), "loss.pos_weight": torch.ones(3)}
    return {
        "epoch": 3,
        "global_step": 90,
        "state_dict": put_before("model.backbone.", state) | head,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}],
        "hyper_parameters": {"lr": 0.1},
    }


def split_inner(state: State) -> State:
    """Name tensors as if one layer was compiled and another one wrapped for its checkpoints."""
    return {
        name.replace("c1.", "c1._orig_mod.").replace(
            "c3.", "c3._checkpoint_wrapped_module."
        ): tensor
        for name, tensor in state.items()
    }


WRAPPERS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {}},
    "model and optimiser": lambda state: {
        "model": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3), "step": torch.tensor(3.0)}}},
    },
    "unknown key": lambda state: {"what the author liked": state},
    "number as a key": lambda state: {0: state},
    "two levels down": lambda state: {"checkpoint": {"net": state, "lr": 0.1}, "epoch": 3},
    "module.": lambda state: put_before("module.", state),
    "_orig_mod.": lambda state: put_before("_orig_mod.", state),
    "module._orig_mod.": lambda state: put_before("module._orig_mod.", state),
    "_orig_mod.module.": lambda state: {"model": put_before("_orig_mod.module.", state)},
    "any prefix": lambda state: put_before("encoder.0.trunk.", state),
    "layers wrapped alone": split_inner,
    "Lightning": make_lightning,
    "heads beside": lambda state: (
        put_before("backbone.", state) | {"fc.weight": torch.zeros(3, 7), "fc.bias": torch.zeros(3)}
    ),
    "classifier of another size": lambda state: put_before(
        "net.", state | {"fc.weight": torch.zeros(3, 84), "fc.bias": torch.zeros(3)}
    ),
    "without a classifier": lambda state: put_before(
        "net.", {name: tensor for name, tensor in state.items() if not name.startswith("fc")}
    ),
    "two names of one network": lambda state: {
        "state_dict": put_before("model.", state) | put_before("backbone.", state)
    },
    "another network beside": lambda state: {
        "student": state,
        "teacher": put_before("resnet.", state | {"c1.weight": torch.zeros(99, 3, 7, 7)}),
    },
}
"""Ways in which files hold one network."""


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_load_weights_digest_is_that_of_the_plain_file(
    tmp_path: Path, state: State, digest: str, wrapper: str
) -> None:
    torch.save(WRAPPERS[wrapper](dict(state)), tmp_path / "a.pth")
    assert load(tmp_path / "a.pth") == digest


def test_load_weights_of_an_averaged_network(tmp_path: Path, digest: str) -> None:
    torch.save(average(build()), tmp_path / "swa.pth")
    assert load(tmp_path / "swa.pth") == digest


def test_load_weights_of_half_precision_behind_a_prefix(tmp_path: Path, state: State) -> None:
    half = {name: tensor.half() for name, tensor in state.items()}
    torch.save(half, tmp_path / "half.pth")
    torch.save({"model": put_before("module.", half)}, tmp_path / "wrapped.pth")
    assert load(tmp_path / "half.pth") == load(tmp_path / "wrapped.pth")


@pytest.mark.parametrize("prefix", ["module.", "model.backbone."])
def test_load_weights_of_safetensors_behind_a_prefix(
    tmp_path: Path, state: State, digest: str, prefix: str
) -> None:
    beside = {"head.weight": torch.zeros(3)}
    save_file(put_before(prefix, state) | beside, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors") == digest


# --- several networks


TWO: dict[str, tuple[Callable[[State, State], Any], str, str]] = {
    "model and model_ema": (lambda a, b: {"model": a, "model_ema": b}, "model", "model_ema"),
    "torchvision's recipe": (
        lambda a, b: {"model": a, "model_ema": put_before("module.", b), "epoch": 3},
        "model",
        "model_ema",
    ),
    "one mapping": (
        lambda a, b: put_before("student.net.", a) | put_before("teacher.net.", b),
        "student",
        "teacher.net",
    ),
    "one at the top": (lambda a, b: dict(a) | put_before("ema.", b), TOP, "ema"),
}
"""Ways in which files hold two networks, and the keys of both."""


@pytest.mark.parametrize("wrapper", TWO)
def test_load_weights_of_two_networks_takes_the_one_that_is_chosen(
    tmp_path: Path, state: State, digest: str, wrapper: str
) -> None:
    wrap, first, second = TWO[wrapper]
    file, other = tmp_path / "two.pth", build(2).state_dict()
    torch.save(wrap(state, other), file)
    with pytest.raises(WeightsError) as caught:
        load(file)
    keys = caught.value.got.removeprefix("2: ").split(", ")
    assert caught.value.expected == "one network that fits the backbone"
    choices = " or ".join(f"weights='{file}:{key}'" for key in keys)
    assert caught.value.remedy == f"Choose one: {choices}."
    for key in {first, keys[0]}:
        assert load(file, key) == digest
    torch.save(other, tmp_path / "other.pth")
    for key in {second, keys[1]}:
        assert load(file, key) == load(tmp_path / "other.pth")


def test_load_weights_of_many_networks_shows_a_few(tmp_path: Path) -> None:
    folds = {f"fold {number}\x1b[0m" + 99 * "x": build(number).state_dict() for number in range(9)}
    torch.save(folds, tmp_path / "nine.pth")
    with pytest.raises(WeightsError, match=r"got 9: fold 0\\u001b.* and 6 more\. Choose") as caught:
        load(tmp_path / "nine.pth")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "ema",
            r"expected a key of a network in it: model, model_ema, got 'ema'\. Nearest: model_ema",
        ),
        ("epoch", r"expected a key of a network in it: model, model_ema, got 'epoch'\. No known"),
    ],
)
def test_load_weights_unknown_key_is_refused_with_those_known(
    tmp_path: Path, state: State, key: str, message: str
) -> None:
    torch.save({"model": state, "model_ema": build(2).state_dict(), "epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=rf"a\.pth: {message}"):
        load(tmp_path / "a.pth", key)


def test_load_weights_key_of_another_network_shows_its_names(tmp_path: Path, state: State) -> None:
    torch.save({"model": state, "head": {"mlp.weight": torch.zeros(3)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"tensors, such as head\.mlp\.weight\. Check"):
        load(tmp_path / "a.pth", "head")


# --- what does not fit


def test_load_weights_of_other_names_shows_names_of_both_sides(tmp_path: Path) -> None:
    names = ["conv_stem.weight", "bn1.weight\x1b[31m", "bn1.bias", "blocks.0.conv_dw.weight"]
    torch.save({"state_dict": {name: torch.zeros(3) for name in names}}, tmp_path / "timm.pth")
    with pytest.raises(WeightsError) as caught:
        load(tmp_path / "timm.pth")
    assert str(caught.value) == (
        f"{tmp_path}/timm.pth: expected the 8 tensors of the backbone, such as c1.weight, "
        "c1.bias, c3.weight and 5 more, got 4 tensors, such as state_dict.conv_stem.weight, "
        "state_dict.bn1.weight\\u001b[31m, state_dict.bn1.bias and 1 more. Check that the file "
        "belongs to this backbone."
    )


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
def test_load_weights_of_another_width_shows_the_shapes(
    tmp_path: Path, state: State, prefix: str
) -> None:
    wide = put_before(prefix, state | {"c1.weight": torch.zeros(12, 3, 5, 5)})
    torch.save(wide, tmp_path / "wide.pth")
    with pytest.raises(WeightsError, match=r"misshapen: c1\.weight \(12, 3, 5, 5\) instead of \("):
        load(tmp_path / "wide.pth")


def test_load_weights_that_lack_a_tensor_say_which(tmp_path: Path, state: State) -> None:
    some = {name: tensor for name, tensor in state.items() if name != "c3.bias"}
    torch.save({"net": some | {"conv9.bias": torch.zeros(3)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"got missing: c3\.bias; unknown: conv9\.bias\. Check"):
        load(tmp_path / "a.pth")


def test_load_weights_of_a_deeper_network_are_refused(tmp_path: Path, state: State) -> None:
    deep = put_before("module.", state | {"c4.weight": torch.zeros(16, 16, 3, 3)})
    torch.save({"model": deep}, tmp_path / "deep.pth")
    with pytest.raises(WeightsError, match=r"got unknown: c4\.weight\. Check"):
        load(tmp_path / "deep.pth")


# --- the parts


def test_find_network_renames_old_names_behind_a_prefix() -> None:
    state = {"norm1.weight": torch.zeros(3), "conv2.weight": torch.zeros(3)}
    old = {"module.norm.1.weight": torch.ones(3), "module.conv.2.weight": torch.ones(3)}

    def rename(name: str) -> str:
        return name.replace("norm.1.", "norm1.").replace("conv.2.", "conv2.")

    found = find_network(old, state, rename=rename, subject="old.pth")
    assert found.keys() == state.keys()


def test_find_network_counts_of_batches_may_lack() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    state = {n: t for n, t in network.state_dict().items() if not n.endswith("tracked")}
    found = find_network(put_before("a.", state), network.state_dict(), subject="a.pth")
    assert found.keys() == state.keys()


def test_list_prefixes_puts_the_most_names_first() -> None:
    names = ["b.x", "a.x", "a.y", "x", "a.c.x", "z"]
    assert list(list_prefixes(names, ["x", "y"])) == ["a.", "", "b.", "a.c."]


def test_flatten_keeps_other_values() -> None:
    assert flatten({"a": {"b": {"c": 1}, 3: []}, "d": None}) == {"a.b.c": 1, "a.3": [], "d": None}
