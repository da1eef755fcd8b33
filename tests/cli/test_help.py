"""Help screens, the completion of the shell, and ``python -m featx``."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.main import get_group

import featx
from featx.cli.app import SECTIONS, app
from featx.cli.help import MAX_WIDTH
from featx.cli.options import choose
from featx.core.errors import FeatxError
from featx.core.typing import EngineName, Precision

GROUP = get_group(app)
COMMANDS = sorted(GROUP.commands)


def show_help(run_cli: Any, monkeypatch: pytest.MonkeyPatch, width: int, *words: str) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    result = run_cli(*words, "--help")
    assert (result.code, result.err) == (0, "")
    return list(result.out.splitlines())


PATHS = [
    *(["verify", "x"], ["info", "x"], ["split", "x"], ["advise", "x"], ["evaluate", "x", "x"]),
    *(["predict", "x", "x"], ["extract", "x", "-o", "y.h5"], ["extract", ".", "-o", "x"]),
    *(["fit-head", "x", "-o", "y"], ["fine-tune", "x", "--cache", "x", "-o", "y.safetensors"]),
]
"""Commands in which the file x is an input or an output."""


@pytest.mark.parametrize("words", PATHS, ids=" ".join)
def test_path_that_may_not_be_read_is_no_wrong_usage(
    run_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """typer would say so, even of an output."""
    monkeypatch.chdir(tmp_path)
    Path("x").write_bytes(b"private")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    result = run_cli(*words)
    assert result.code == 1
    assert "readable" not in result.err


def test_output_that_may_not_be_read_is_an_error_of_one_line(
    run_cli: Any, cache_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user's file; root may read everything."""
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "other.joblib":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments, **options)

    (tmp_path / "other.joblib").write_bytes(b"private")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    monkeypatch.setattr(Path, "open", refuse)
    result = run_cli("fit-head", cache_path, "-o", tmp_path / "other.joblib")
    result.check_error("other.joblib: expected a file that can be read, got Permission denied.")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_the_terminal(
    run_cli: Any, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    lines = show_help(run_cli, monkeypatch, width, *filter(None, [name]))
    assert max(map(len, lines)) <= min(width, MAX_WIDTH)
    assert not re.search(r"<\w+>|list\[|x>=", "\n".join(lines))


def test_main_help_shows_whole_summaries_in_sections(
    run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = " ".join(" ".join(show_help(run_cli, monkeypatch, 80)).split())
    for title, commands in SECTIONS.items():
        assert f"{title}: " in text
        for name, command in commands.items():
            assert f"{name} {(command.__doc__ or '').splitlines()[0]}" in text


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("extract", "featx extract [OPTIONS] SOURCE..."),
        ("fit-head", "featx fit-head [OPTIONS] CACHE..."),
        ("evaluate", "featx evaluate [OPTIONS] HEAD CACHE..."),
        ("predict", "featx predict [OPTIONS] HEAD INPUT..."),
        ("backbones", "featx backbones [OPTIONS] [NAME]"),
        ("doctor", "featx doctor [OPTIONS] [SOURCE...]"),
    ],
)
def test_usage_names_what_an_argument_is(
    run_cli: Any, monkeypatch: pytest.MonkeyPatch, name: str, usage: str
) -> None:
    assert show_help(run_cli, monkeypatch, 80, name)[0] == f"Usage: {usage}"


def test_command_help_has_sections_choices_and_defaults(
    run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = show_help(run_cli, monkeypatch, 80, "extract")
    titles = [line.rstrip(":") for line in lines if re.fullmatch(r"\w[\w ]+:", line)]
    assert titles == [
        *("Examples", "Arguments", "Options", "Network", "Reruns and failures", "Speed"),
    ]
    text = "\n".join(lines)
    assert "\n  featx extract photos/ -o photos.h5 --backbone resnet50\n" in text
    assert "  --precision fp32|bf16|fp16  Arithmetic" in text
    assert "  --engine auto|torch|openvino\n" in text
    assert "[required]" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_with_a_value_says_which(name: str) -> None:
    for parameter in GROUP.commands[name].params:
        if parameter.param_type_name == "argument" or not getattr(parameter, "is_flag", False):
            assert parameter.metavar, f"featx {name}: {parameter.name}"


# --- words


def test_choose_matches_any_case_and_refuses_others_with_the_nearest() -> None:
    option = choose("precision", Precision, "Arithmetic.")
    assert option.parser("BF16") == "bf16"
    assert option.metavar == "fp32|bf16|fp16"
    with pytest.raises(FeatxError) as caught:
        option.parser("pf32")
    assert caught.value.subject == "precision"
    assert caught.value.remedy == "Nearest: fp32."


def list_vocabularies() -> list[tuple[str, str]]:
    """List the commands and options whose annotation is a closed vocabulary."""
    found = []
    for section in SECTIONS.values():
        for name, command in section.items():
            hints = command.__annotations__
            found += [(name, key) for key, hint in hints.items() if "Literal" in str(hint)]
    return found


def test_vocabularies_are_found() -> None:
    assert ("extract", "precision") in list_vocabularies()
    assert ("fine-tune", "optimizer") in list_vocabularies()
    assert len(list_vocabularies()) >= 10


@pytest.mark.parametrize(("name", "key"), list_vocabularies())
def test_every_vocabulary_is_completed_and_refused_by_its_own_words(name: str, key: str) -> None:
    (option,) = (one for one in GROUP.commands[name].params if one.name == key)
    context = typer.Context(GROUP.commands[name])
    words = [item.value for item in option.shell_complete(context, "")]
    assert "|".join(words) == option.metavar
    with pytest.raises(FeatxError, match=f"^{key}: expected "):
        option.process_value(context, "no such word")


# --- completion


def complete(*words: str, shell: str = "bash") -> list[str]:
    """Ask what the script of a shell asks, and return the answers."""
    environment = {
        **os.environ,
        "_FEATX_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": " ".join(["featx", *words]),
        "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_ARGS": " ".join(["featx", *words]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "featx"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(featx.__file__).parents[1],
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_completion_answers_with_commands() -> None:
    assert complete("ev") == ["evaluate"]


def test_completion_answers_with_words_of_an_option() -> None:
    assert complete("extract", "photos", "--engine", "") == list(get_args(EngineName))


def test_completion_answers_with_names_of_networks() -> None:
    assert complete("doctor", "--backbone", "resnet1") == ["resnet101", "resnet152", "resnet18"]


def test_completion_answers_in_zsh_and_fish() -> None:
    assert '"torch"' in " ".join(complete("extract", "--engine", "to", shell="zsh"))


def test_completion_script_is_shown_and_installed_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "bash")
    shown = run_cli("--show-completion")
    assert (shown.code, "complete_bash" in shown.out) == (0, True)
    assert list(tmp_path.iterdir()) == []
    assert run_cli("--install-completion").code == 0
    assert "_FEATX_COMPLETE" in (tmp_path / ".bash_completions" / "featx.sh").read_text()


# --- python -m featx


def test_python_m_featx_is_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "featx", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"featx {featx.__version__}\n", "")
