"""A run opens no socket, and writes nothing outside its output, its store and the temp folder."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import featx
from tests.builders import NEEDS_OPENVINO

PACKAGE = Path(featx.__file__).parent

AUDIT = """
import os, sys

ROOT = os.path.realpath(os.environ["ROOT"])
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo",
           "socket.gethostbyname", "socket.gethostbyaddr", "urllib.Request")
PATHS = {"open": 0, "os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1, "os.truncate": 0}

def is_outside(path):
    if not isinstance(path, (str, bytes)):
        return False
    path = os.path.realpath(os.fsdecode(path))
    return path != os.devnull and os.path.commonpath([path, ROOT]) != ROOT

def watch(event, args):
    if event in NETWORK:
        print("AUDIT", event, args[1:], file=sys.__stdout__)
    elif event in PATHS:
        only_reads = event == "open" and not (args[2] or 0) & WRITES
        if not only_reads and is_outside(args[PATHS[event]]):
            print("AUDIT", event, args, file=sys.__stdout__)

sys.addaudithook(watch)
"""

RUN = """
from featx.cli import main

for words in {commands}:
    try:
        main(words)
    except SystemExit as end:
        assert not end.code
print("done")
"""

MAIN_JOB = [
    ["extract", "photos", "-o", "photos.h5", "--backbone", "mini"],
    ["extract", "photos", "-o", "torch.h5", "--backbone", "lenet5", "--engine", "torch"],
    ["fit-head", "photos.h5", "-o", "head.joblib", "--C", "1"],
    ["evaluate", "head.joblib", "photos.h5"],
    ["predict", "head.joblib", "photos/val/ants/0.jpg"],
]

THE_REST = [
    ["extract", "photos", "-o", "photos.h5", "--backbone", "mini"],
    ["fine-tune", "photos", "--cache", "photos.h5", "-o", "tuned.safetensors", "--unfreeze", "1",
     "--epochs", "1"],
    ["verify", "photos.h5"],
    ["info", "photos.h5"],
    ["export", "photos.h5", "-o", "photos.npz"],
    ["export", "photos.h5", "-o", "photos.csv"],
    ["import", "photos.npz", "-o", "imported.h5"],
    ["backbones"],
    ["doctor", "photos", "--backbone", "mini"],
    ["demo", "-o", "demo"],
]  # fmt: skip


@pytest.fixture
def place(photos: Path, tmp_path: Path) -> dict[str, str]:
    """Environment of a process whose home is empty; nothing else than the temp folder exists."""
    for name in ("home", "temp", "store"):
        (tmp_path / name).mkdir()
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "temp"),
        "FEATX_STORE": str(tmp_path / "store"),
        "ROOT": str(tmp_path),
        "OMP_WAIT_POLICY": "passive",
    }


@pytest.fixture
def run_audited(place: dict[str, str], tmp_path: Path) -> Callable[[str], Any]:
    """Run code in a fresh process under an audit hook; list what the hook objects to."""

    def run(code: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", AUDIT + textwrap.dedent(code)],
            env=place,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("done\n")
        assert os.listdir(tmp_path / "home") == []
        return [line for line in done.stdout.splitlines() if line.startswith("AUDIT")]

    return run


def test_audit_hook_sees_sockets_and_files(run_audited: Callable[[str], Any]) -> None:
    found = run_audited(
        """
        import socket
        try:
            socket.create_connection(("127.0.0.1", 1))
        except OSError:
            pass
        open("inside", "w").close()
        open("/dev/null", "w").close()
        try:
            os.mkdir("/nowhere/at/all")
        except OSError:
            pass
        print("done")
        """
    )
    events = [line.split()[1] for line in found]
    assert events == ["socket.getaddrinfo", "socket.connect", "os.mkdir"]


@pytest.mark.slow
def test_main_job_opens_no_socket_and_writes_nothing_elsewhere(
    run_audited: Callable[[str], Any],
) -> None:
    assert run_audited(RUN.format(commands=MAIN_JOB)) == []


@pytest.mark.slow
def test_other_commands_open_no_socket_and_write_nothing_elsewhere(
    run_audited: Callable[[str], Any],
) -> None:
    assert run_audited(RUN.format(commands=THE_REST)) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("commands", [MAIN_JOB, THE_REST], ids=["main job", "the rest"])
def test_system_calls_of_a_run_open_no_socket(
    place: dict[str, str], tmp_path: Path, commands: list[list[str]]
) -> None:
    trace = tmp_path / "trace"
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=socket,connect,sendto", "-o", trace, sys.executable,
         "-c", RUN.format(commands=commands)],
        env=place, cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    calls = trace.read_text().splitlines()
    # Looking up the user's name asks a daemon of this machine, by a socket that is a file.
    assert [line for line in calls if re.search(r"AF_(?!UNIX)\w+", line)] == []
    assert os.listdir(tmp_path / "home") == []


def list_bare_imports(node: ast.AST, *, is_guarded: bool = False) -> list[str]:
    """List the imports of OpenVINO that are in no ``with without_telemetry()``."""
    if isinstance(node, ast.With):
        guards = [ast.unparse(item.context_expr) for item in node.items]
        is_guarded = is_guarded or "without_telemetry()" in guards
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return []
    text = ast.unparse(node) if isinstance(node, ast.Import | ast.ImportFrom) else ""
    is_require = isinstance(node, ast.Call) and ast.unparse(node).startswith("require('openvino")
    found = [text or "require"] if is_require or re.match(r"(import|from) openvino\b", text) else []
    inner = [
        name
        for child in ast.iter_child_nodes(node)
        for name in list_bare_imports(child, is_guarded=is_guarded)
    ]
    return inner if is_guarded else [*found, *inner]


def test_list_bare_imports_sees_them() -> None:
    code = "import openvino.op\nwith without_telemetry():\n    import openvino\n    f()\n"
    assert list_bare_imports(ast.parse(code)) == ["import openvino.op"]
    assert list_bare_imports(ast.parse("def f():\n    require('openvino', 'cpu')")) == ["require"]


def test_openvino_is_imported_without_telemetry_everywhere() -> None:
    texts = {file: file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")}
    naming = {file: text for file, text in texts.items() if "openvino" in text}
    assert len(naming) > 5
    bare = {file: list_bare_imports(ast.parse(text)) for file, text in naming.items()}
    assert {file: found for file, found in bare.items() if found} == {}


@NEEDS_OPENVINO
def test_openvino_afterwards_is_whole_for_the_caller(run_audited: Callable[[str], Any]) -> None:
    found = run_audited(
        """
        import importlib.util
        import featx.engines.openvino_engine
        assert "openvino_telemetry" not in sys.modules
        before = importlib.util.find_spec("openvino_telemetry")
        import openvino
        from openvino.tools import ovc
        ovc.telemetry.send_event("any", "event", "goes nowhere")
        assert callable(openvino.convert_model)
        print("done")
        """
    )
    assert found == []


def test_without_telemetry_gives_back_a_module_that_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from featx.engines.telemetry import PACKAGE, without_telemetry

    module = type(sys)(PACKAGE)
    monkeypatch.setitem(sys.modules, PACKAGE, module)
    with without_telemetry(), pytest.raises(ModuleNotFoundError):
        importlib.import_module(PACKAGE)
    assert sys.modules[PACKAGE] is module


def test_without_telemetry_leaves_nothing_where_nothing_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from featx.engines.telemetry import PACKAGE, without_telemetry

    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    with pytest.raises(KeyError), without_telemetry():
        raise KeyError
    assert PACKAGE not in sys.modules
