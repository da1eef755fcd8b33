"""Networks of the user on the command line."""

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

NUMBERS = itertools.count()

MODULE = """
import featx

def register():
    from torch import nn
    from torchvision import transforms

    transform = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])
    featx.register_backbone("{name}", nn.Conv2d(3, 4, 3), transform=transform)

def fail():
    raise ValueError("no such\\nfile")
"""


@pytest.fixture
def network(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Name of a network that a module in the working folder registers, and of the module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"own-networks-{next(NUMBERS)}"
    module = name.replace("-", "_")
    (tmp_path / f"{module}.py").write_text(MODULE.format(name=name))
    return name, module


def test_register_lets_every_command_use_a_network_of_the_user(run_cli: Any, network: Any) -> None:
    name, module = network
    result = run_cli(
        *(
            "extract",
            "photos",
            "-o",
            "own.h5",
            "--backbone",
            name,
            "--register",
            f"{module}:register",
        )
    )
    assert result.code == 0, result.err
    assert run_cli("fit-head", "own.h5", "-o", "own.joblib").code == 0
    assert run_cli("predict", "own.joblib", "photos/val").code == 0
    assert run_cli("verify", "own.h5", "--against", "photos").code == 0


def test_commands_on_embeddings_need_no_network_of_the_user(
    run_cli: Any, cache_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the cache names a backbone that nobody has registered
    for line in (
        "info cache.h5",
        "verify cache.h5",
        "split cache.h5 --overwrite",
        "fit-head cache.h5 -o head.joblib",
        "evaluate head.joblib cache.h5",
        "predict head.joblib cache.h5",
        "advise cache.h5",
    ):
        result = run_cli(*line.split())
        assert (result.code, result.err) == (0, ""), line


def test_unknown_network_says_how_to_register_it(run_cli: Any, network: Any) -> None:
    result = run_cli("extract", "photos", "-o", "own.h5", "--backbone", network[0])
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert "add a network of your own with --register MODULE:FUNCTION." in result.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{module}", "--register: expected module:function, got '{module}'"),
        ("{module}:", "--register: expected module:function, got '{module}:'"),
        ("nowhere_at_all:register", "got ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("{module}:gone", "got AttributeError: "),
        ("{module}:fail", "got ValueError: no such"),
    ],
)
def test_register_what_does_not_register_is_one_line(
    run_cli: Any, network: Any, text: str, message: str
) -> None:
    _, module = network
    result = run_cli(
        *("extract", "photos", "-o", "own.h5", "--register", text.format(module=module))
    )
    assert result.code in (1, 2)
    assert len(result.err.splitlines()) == 1
    assert message.format(module=module) in result.err
    assert not Path("own.h5").exists()
