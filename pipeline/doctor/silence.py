"""Running a command while its network calls are watched: by strace, or where that may not trace, by an audit hook."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.doctor.addresses import Attempt, from_hook, from_strace

PROBE_HOST, PROBE_PORT = "192.0.2.1", 9  # TEST-NET-1 (RFC 5737); connecting a datagram socket sends nothing
PROBE = f"import socket; socket.socket(2, 2).connect(({PROBE_HOST!r}, {PROBE_PORT}))"
STRACE = "strace (every network call of all processes)"
HOOK = "Python's audit hook (calls from Python code alone, since strace may not trace here)"

# Python runs this file at the start of every process, so that children are watched as well.
SITECUSTOMIZE = """
import os, sys

def watch(event, arguments, path=os.environ["SCANSHIFT_CALLS"]):
    call = event.rpartition(".")[2]
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if not isinstance(address, tuple) or not isinstance(address[0], str):
            return
        host, port = address[0], address[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        call, host, port = "look-up", arguments[0], 0
    else:
        return
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    with open(path, "a") as file:
        file.write(f"{call}\\t{host}\\t{port}\\n")

sys.addaudithook(watch)
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a watched command did.

    Attributes:
        code: Its exit code.
        error: What it wrote to standard error.
        attempts: Addresses that it tried, each once.
    """

    code: int
    error: str
    attempts: tuple[Attempt, ...]


Run = Callable[[Sequence[str], Mapping[str, str], int], Watched]


def run_traced(command: Sequence[str], environment: Mapping[str, str], seconds: int) -> Watched:
    """Run a command and its children under strace.

    Raises:
        OSError, subprocess.SubprocessError: If it cannot be started or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        log = Path(folder) / "calls"
        trace = ["strace", "-f", "-qq", "-s", "256", "-e", "trace=network", "-e", "signal=none", "-o", str(log)]
        code, error = _run([*trace, *command], environment, seconds)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        return Watched(code, error, tuple(from_strace(lines)))


def run_hooked(command: Sequence[str], environment: Mapping[str, str], seconds: int) -> Watched:
    """Run a Python command and its Python children under an audit hook. Raises as `run_traced`."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        log = Path(folder) / "calls"
        log.touch()
        (Path(folder) / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
        path = os.pathsep.join(filter(None, [folder, environment.get("PYTHONPATH", "")]))
        watched = {**environment, "PYTHONPATH": path, "SCANSHIFT_CALLS": str(log)}
        code, error = _run(command, watched, seconds)
        return Watched(code, error, tuple(from_hook(log.read_text(encoding="utf-8").splitlines())))


def _run(command: Sequence[str], environment: Mapping[str, str], seconds: int) -> tuple[int, str]:
    """Exit code and standard error; after too long a time the command and its children are ended."""
    process = subprocess.Popen(
        list(command),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        _, error = process.communicate(timeout=seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr:
            process.stderr.close()
    return process.returncode, error


def choose_watch(environment: Mapping[str, str], seconds: int = 60) -> tuple[Run, str] | None:
    """The way of watching that works here and its name: proven by a call that it has to see; None if none does."""
    ways: list[tuple[Run, str]] = [(run_hooked, HOOK)]
    if shutil.which("strace"):
        ways.insert(0, (run_traced, STRACE))
    for run, name in ways:
        seen = run([sys.executable, "-c", PROBE], environment, seconds).attempts
        if any((attempt.host, attempt.port) == (PROBE_HOST, PROBE_PORT) for attempt in seen):
            return run, name
    return None
