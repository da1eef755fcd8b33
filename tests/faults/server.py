"""A process that has imported featx and forks one extraction after another, to be killed.

It reads one JSON object per line: the words of a featx command, a log for what is decoded, and how
the child is ended or traced. It answers with the child's exit status and its seconds. Imports cost
seconds and no fault of ours lies in them: the server imports what its arguments name. The server
itself never computes, so a fork of it is clean.
"""

import glob
import hashlib
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from featx.cli import main


def log_decoding(path: Path) -> None:
    """Append the digest of each content that is decoded, in one write that a kill cannot tear."""
    decoding = sys.modules.get("featx.embedding.decoding")
    if decoding is None:  # a command that runs no network
        return
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    decode = getattr(decoding, "decode_reduced")  # noqa: B009

    def logged(data: Any, *options: Any) -> Any:
        os.write(log, hashlib.sha256(data).hexdigest().encode() + b"\n")
        return decode(data, *options)

    setattr(decoding, "decode_reduced", logged)  # noqa: B010


def run_child(order: Any) -> None:
    os.setsid()
    os.environ.update(order.get("env", {}))
    log_decoding(order["log"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    stream = os.open(order["log"] + ".stderr", flags)
    os.dup2(os.open(order["stdout"], flags, 0o666) if "stdout" in order else stream, 1)
    os.dup2(stream, 2)
    if order.get("max_file_bytes"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["max_file_bytes"],) * 2)
    try:
        main(["--no-progress", *order["words"]])
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(int(end.code or 0))
    os._exit(0)


def wait(pid: Any, seconds: Any) -> Any:
    """Wait for a child, at most so long; return its status, or None."""
    descriptor = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
    return os.waitpid(pid, 0)[1] if ready else None


def wait_for_file(pid: Any, pattern: Any) -> Any:
    """Wait until a child has made such a file; return its status if it ends before."""
    status = None
    while status is None and not glob.glob(pattern):
        status = wait(pid, 0.005)
    return status


def trace(pid: Any, order: Any) -> Any:
    """Attach strace to a child that waits; return the tracer once it sees every call."""
    command = ["strace", "-f", "-y", "-p", str(pid), "-o", order["log"] + ".strace"]
    tracer = subprocess.Popen([*command, *order["strace"]], stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{pid}/status")
    while tracer.poll() is None and "TracerPid:\t0\n" in status.read_text():
        time.sleep(0.002)
    return tracer


for name in sys.argv[1:]:
    importlib.import_module(name)
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    Path(order["log"] + ".stderr").touch()  # a child may be killed before it writes anything
    begin = time.monotonic()
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(gate, 1)
        os.close(gate)
        os.close(opener)
        run_child(order)
    tracer = trace(pid, order) if "strace" in order else None
    os.write(opener, b"x")
    os.close(gate)
    os.close(opener)
    if "until" in order:
        status = wait_for_file(pid, order["until"])
    else:
        status = wait(pid, order.get("after", 300))
    if status is None:
        os.kill(pid, getattr(signal, order.get("signal", "SIGKILL")))
        status = wait(pid, 60)
        if status is None:
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
    if tracer is not None:
        tracer.wait()
    answer = {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - begin,
        "stderr": Path(order["log"] + ".stderr").read_text(),
    }
    print(json.dumps(answer), flush=True)
