"""Commands of which each call that concerns a disk fails once, or is the last one.

strace counts the calls of an undisturbed run, and then lets one call fail, or kills the process at
it. Afterwards the output is the old or the new one, whole; one line says what happened; and the
same command works.
"""

from __future__ import annotations

import csv
import io
import os
import random
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from featx.cache.joined import open_cache
from featx.cache.seal import check_seal
from featx.core.drafts import is_draft
from featx.core.errors import CacheDamagedError
from featx.heads.linear import fold_linear
from featx.heads.load import load_head

from .conftest import draw_delay

READING = {
    *("read", "pread64", "readv", "lseek", "getdents64", "fstat", "statx", "mmap", "ioctl"),
    *("stat", "lstat", "newfstatat", "readlink", "readlinkat", "access", "faccessat", "faccessat2"),
}
"""Calls that change nothing on the disk."""

CHANGING = {
    *("write", "pwrite64", "writev", "ftruncate", "truncate", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "utimensat"),
    *("copy_file_range", "sendfile"),
}
"""Calls that change something on it. A file that is opened to be created is one, too."""

CALLS = ",".join(sorted(READING | CHANGING | {"openat", "close"}))

ERRORS = ("ENOSPC", "EIO", "EROFS", "EMFILE", "EACCES", "EDQUOT", "EPERM")
"""The errors that a call may end with."""

TIMEOUT_S = 120


def find_reason_to_skip() -> str:
    """Say why nothing can be injected on this machine; empty if it can."""
    if shutil.which("strace") is None:
        return "needs strace"
    command = ["strace", "-f", "-o", os.devnull, "-e", "inject=fsync:error=EIO:when=1", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"strace may not trace here: {done.stderr.strip()}" if done.returncode else ""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of an undisturbed run.

    Attributes
    ----------
    name : str
        Name of the system call.
    path : str
        A path that the call concerns; empty if it has another name in each run.
    number : int
        Number of the call among those of this name and this path in its thread, from 1.
    line : str
        Line of strace.
    """

    name: str
    path: str
    number: int
    line: str

    @property
    def changes_disk(self) -> bool:
        """Whether the call changes the disk."""
        return self.name in CHANGING or (self.name == "openat" and "O_CREAT" in self.line)


@dataclass
class Score:
    """What came of many disturbed runs."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return "\n".join([counts, *self.wrong])


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command over a folder, from the same beginning each time.

    Attributes
    ----------
    server : Server
        Server that runs commands.
    words : sequence of str
        The command.
    folder : Path
        Folder of everything that the command reads and writes.
    outputs : sequence of Path
        Files of the result, in the folder.
    stdout : Path, optional
        File in the folder that takes standard output, a CSV table of predictions.
    """

    server: Any
    words: Sequence[Any]
    folder: Path
    outputs: Sequence[Path]
    stdout: Path | None = None

    @property
    def beginning(self) -> Path:
        """Copy of the folder as it is before the command."""
        return self.folder.with_name(self.folder.name + "-before")

    @property
    def log(self) -> Path:
        """Path of the logs, which are none of the command's."""
        return self.folder.with_name(self.folder.name + "-log")

    def keep_beginning(self) -> None:
        """Take the folder as it is for the beginning."""
        shutil.rmtree(self.beginning, ignore_errors=True)
        shutil.copytree(self.folder, self.beginning, symlinks=True)

    def begin_anew(self) -> None:
        """Give the folder its beginning."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.beginning, self.folder, symlinks=True)

    def run(self, *strace: str, after: float = TIMEOUT_S) -> dict[str, Any]:
        """Run the command, under strace if options of it are given; kill it after some seconds."""
        stdout = self.stdout or f"{self.log}.stdout"
        store = {"FEATX_STORE": str(self.folder / "store")}
        order: dict[str, Any] = {"after": after, "stdout": str(stdout), "env": store}
        if strace:
            order["strace"] = strace
        done: dict[str, Any] = self.server.run(self.words, self.log, **order)
        return done

    def look(self) -> list[Any]:
        """Read the result; None for each file that is not there."""
        return [READ[path.suffix](path) if path.exists() else None for path in self.outputs]

    def list_calls(self) -> list[Call]:
        """List the calls of an undisturbed run that concern the folder."""
        self.begin_anew()
        done = self.run("-e", f"trace={CALLS}")
        assert done["code"] == 0, done["stderr"]
        counts: Counter[tuple[str, ...]] = Counter()
        calls: dict[tuple[str, str, int], Call] = {}
        ours = re.compile(rf'["<]({re.escape(str(self.folder))}/[^">]*)[">]')
        for line in self.read_trace():
            found = re.match(r"(\d+) +(\w+)\(", line)
            if found is None:
                continue
            thread, name = found.groups()
            paths = dict.fromkeys(ours.findall(line))
            for path in ("", *paths):
                counts[thread, name, path] += 1
            is_shells = name == "openat" and str(self.stdout) in paths  # not the command's own
            if paths and not is_shells:
                # A draft has another name in each run: its calls go by their number alone.
                fixed = [path for path in paths if not any(map(is_draft, Path(path).parts))]
                path = fixed[0] if fixed else ""
                number = counts[thread, name, path]
                call = Call(name=name, path=path, number=number, line=line)
                calls.setdefault((name, path, number), call)
        return list(calls.values())

    def read_trace(self) -> list[str]:
        """Read the lines of the last run under strace, with the parts of each call together."""
        path = Path(f"{self.log}.strace")
        lines, begun = [], {}
        for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
            if found := re.fullmatch(r"(\d+) +(.*) <unfinished \.\.\.>", line):
                begun[found[1]] = line.removesuffix(" <unfinished ...>")
            elif found := re.match(r"(\d+) +<\.\.\. \w+ resumed>", line):
                lines.append(begun.pop(found[1], "") + line[found.end() :])
            else:
                lines.append(line)
        return [*lines, *begun.values()]

    def list_names(self) -> list[str]:
        """List what is in the folder, but for what the source and the store hold."""
        names = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))
        return sorted(name for name in names if not re.match(r"(photos|store)/", name))

    def judge(self, faults: Iterable[tuple[Call, str]]) -> Score:
        """Disturb the command once for each fault, and judge what is left.

        Parameters
        ----------
        faults : iterable of (Call, str)
            The call, and what happens at it: ``"error=EIO"`` or ``"signal=SIGKILL"``.
        """
        self.begin_anew()
        old = self.look()
        assert self.run()["code"] == 0
        new, names = self.look(), self.list_names()
        score = Score()
        for call, fault in faults:
            self.begin_anew()
            inject = f"inject={call.name}:{fault}:when={call.number}"
            path = ["-P", call.path] if call.path else []
            done = self.run(*path, "-e", f"trace={call.name}", "-e", inject)
            hits = [
                line for line in self.read_trace() if re.search("INJECTED|killed by|--- ", line)
            ]
            result = self._judge_one(done, old=old, new=new)
            # Another thread's call of this number may have been one for a library.
            is_ours = all(f"{self.folder}/" in line or "INJECTED" not in line for line in hits)
            if not hits or (not is_ours and "the old nor" not in result):
                result = "not met"
            again: dict[str, Any] = {"code": 0}
            if result != "right":
                again = self.run()
                if again["code"] or self.look() != new:
                    result = f"WRONG: the next run ends with {again['code']}, {again['stderr']!r}"
                elif not set(self.list_names()) <= set(names):
                    result = f"WRONG: left {sorted(set(self.list_names()) - set(names))}"
            score.counts["wrong" if "WRONG" in result else result] += 1
            if "WRONG" in result:
                score.wrong.append(
                    f"{call.name} {call.path} {call.number} {fault}: {result} | {call.line}"
                )
        return score

    def kill_many(self, n_kills: int, *, seed: int) -> int:
        """Kill the command at random moments, and return how often it was killed.

        Each time, every output is the old or the new one, whole, and the other files are as they
        were. Called once more at the end, the command works, and no draft is left.

        Parameters
        ----------
        n_kills : int
            Least number of kills.
        seed : int
            Seed of the moments.
        """
        self.begin_anew()
        old = self.look()
        done = self.run()
        assert done["code"] == 0, done["stderr"]
        new, names, whole_s = self.look(), self.list_names(), done["seconds"]
        others = self._read_others()
        rng, n_killed, slowness = random.Random(seed), 0, 1.0
        self.begin_anew()
        while n_killed < n_kills:
            done = self.run(after=draw_delay(rng, slowness * whole_s))
            assert done["code"] in (0, -9), done["stderr"]
            is_killed = done["code"] == -9
            n_killed += is_killed
            slowness *= 1.05 if is_killed else 0.8  # the moments follow the pace of the machine
            there = self.look()
            assert all(one in pair for one, *pair in zip(there, old, new, strict=True))
            assert is_killed or there == new
            assert self._read_others() == others
            if not is_killed or rng.random() < 0.2:  # else, the next one finds what is left
                self.begin_anew()
        done = self.run()
        assert done["code"] == 0, done["stderr"]
        assert self.look() == new
        assert set(self.list_names()) <= set(names)
        return n_killed

    def _read_others(self) -> dict[Path, bytes]:
        """Read the files that were there before the command, but for the outputs."""
        paths = (self.folder / path.relative_to(self.beginning) for path in self._list_beginning())
        return {path: path.read_bytes() for path in paths if path not in self.outputs}

    def _list_beginning(self) -> list[Path]:
        return sorted(path for path in self.beginning.rglob("*") if path.is_file())

    def _judge_one(self, done: dict[str, Any], *, old: list[Any], new: list[Any]) -> str:
        """Judge a disturbed run: its exit code, its words, and the result that is there."""
        stderr, code = done["stderr"], done["code"]
        for sign in ("Traceback", "Exception ignored", "Fatal Python", "Error:"):
            if sign in stderr:
                return f"WRONG: {sign}: {stderr[-1500:]!r}"
        if code == -9 and done["seconds"] >= TIMEOUT_S:
            return "WRONG: it never ends"
        there = self.look()
        if code == 0:
            if there == new:
                return "right"
            is_partial = all(map(is_without_some, there, new))
            return "an image failed" if is_partial else f"WRONG: exit 0, {stderr!r}"
        # A table that went to standard output may be cut off, which the exit code tells.
        files = [path != self.stdout for path in self.outputs]
        if any(
            is_file and one not in (before, after)
            for is_file, one, before, after in zip(files, there, old, new, strict=True)
        ):
            return f"WRONG: neither the old nor the new result, {stderr!r}"
        if code in (-9, -15, 143):  # -15: before featx has begun
            return "killed"
        lines = [line for line in stderr.splitlines() if ": expected " in line]
        if len(lines) != 1 or not all(line.startswith("featx: ") for line in stderr.splitlines()):
            return f"WRONG: exit {code} and {stderr!r}"
        is_told = f"{self.outputs[0]}: expected" in stderr  # and not a shard, for example
        if is_told and "is unchanged" in stderr and there[0] != old[0]:
            return f"WRONG: not unchanged: {stderr!r}"
        if is_told and "is in place" in stderr and there[0] != new[0]:
            return f"WRONG: not in place: {stderr!r}"
        return "told"


def draw_faults(
    calls: Sequence[Call], *, seed: int, n_calls: int | None = None, n_errors: int = 1
) -> list[tuple[Call, str]]:
    """Draw faults: for each of the calls so many different errors.

    Parameters
    ----------
    calls : sequence of Call
        Calls of an undisturbed run.
    seed : int
        Seed of the draw.
    n_calls : int, optional
        Largest number of calls to disturb. Default: all of them. Each kind of call has its turn.
    n_errors : int
        Number of errors for each call.
    """
    rng = random.Random(seed)
    chosen = list(calls)
    if n_calls is not None:
        rng.shuffle(chosen)
        seen: Counter[str] = Counter()
        ranks = []
        for call in chosen:
            ranks.append((seen[call.name], not call.changes_disk))
            seen[call.name] += 1
        order = sorted(range(len(chosen)), key=lambda number: ranks[number])
        chosen = [chosen[number] for number in order[:n_calls]]
    return [(call, f"error={name}") for call in chosen for name in rng.sample(ERRORS, n_errors)]


@dataclass(frozen=True)
class Table:
    """Rows of a cache or of predictions, by their id, and the ids of those that failed."""

    rows: dict[str, Any]
    failed: frozenset[str]


def is_without_some(found: Any, whole: Any) -> bool:
    """Tell whether a result equals another one, but for rows that it lists as failed."""
    if not isinstance(found, Table) or not isinstance(whole, Table):
        return bool(found == whole)
    kept = {row_id: row for row_id, row in whole.rows.items() if row_id not in found.failed}
    return found.rows == kept and found.failed <= whole.failed | set(whole.rows)


def read_cache(path: Path) -> Table | bytes:
    """Read what two equal caches have in common; the bytes hold times.

    A cache that another program has changed is all of its bytes.
    """
    try:
        check_seal(path)
    except CacheDamagedError:
        return path.read_bytes()
    with open_cache(path) as cache:
        said = defaultdict(list)
        for one in cache.read_history():
            if (
                one.field != "split"
            ):  # of a row that was gone for a run, a record becomes a statement
                said[one.id].append((one.field, one.value, one.kind, one.author))
        parts = [
            cache.labels,
            cache.splits,
            cache.digests,
            [repr(said.pop(row_id, [])) for row_id in cache.ids],
            *(cache.take_vectors(name, np.arange(len(cache))) for name in cache.embeddings),
        ]
        rows = {
            row_id: tuple(one if isinstance(one, str) else one.tobytes() for one in cells)
            for row_id, *cells in zip(cache.ids, *parts, strict=True)
        }
        failed = frozenset(failure.id for failure in cache.failures)
        rows |= {
            f"said of {row_id!r}": tuple(left)
            for row_id, left in said.items()
            if row_id not in failed
        }
        return Table(rows, failed)


def read_table(path: Path) -> Any:
    """Read a CSV table of predictions, or the log of a fine-tuning without its times."""
    lines = list(csv.DictReader(io.StringIO(path.read_text())))
    if lines and "epoch" in lines[0]:
        return [(line["epoch"], line["train_loss"], line["holdout_loss"]) for line in lines]
    failed = frozenset(str(line["path"]) for line in lines if line.get("error"))
    return Table({line["path"]: line for line in lines if line["path"] not in failed}, failed)


def read_head(path: Path) -> Any:
    """Read all of a head but when and where it was made."""
    head = load_head(path)
    weight, bias = fold_linear(head.estimator)
    return head.kind, head.params, head.seen.tobytes(), weight.tobytes(), bias.tobytes()


def read_weights(path: Path) -> Any:
    """Read the tensors of a file of weights."""
    return {name: tensor.tobytes() for name, tensor in load_file(path).items()}


READ: dict[str, Callable[[Path], Any]] = {
    ".h5": read_cache,
    ".csv": read_table,
    ".joblib": read_head,
    ".safetensors": read_weights,
}
"""Functions that read what two equal results have in common, by the suffix of the file."""
