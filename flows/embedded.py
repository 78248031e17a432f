"""A Prefect server of a command's own, on loopback, for as long as the command lives.

Prefect's client would start the same process by itself, but only after importing the whole server into this one, which
takes seconds; so it is started here, before anything heavy is imported.
"""

import atexit
import contextlib
import functools
import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import PipelineError

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 5.0
# As prefect.server.api.server.SubprocessASGIServer has it: no pages, no services that make runs by schedule.
EPHEMERAL = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


class EmbeddedServer:
    """A server that was started, ready or not."""

    def __init__(self) -> None:
        self._port = _reserved_port()
        self.process = self._started()
        self._watcher = end_with_this_process(self.process.pid)
        atexit.register(self.stop)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._port.getsockname()[1])

    def ready(self, seconds: float = START_SECONDS) -> str:
        """Wait until it answers, and return the address of its API.

        Raises:
            PipelineError: If it does not in time.
        """
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            if self._answers():
                return f"http://{HOST}:{self.port}/api"
            time.sleep(0.05)
        self.stop()
        raise PipelineError("the embedded Prefect server did not start; the lines above, if any, say why")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._watcher.kill()  # the number of a process that is gone may be given to another
        self._watcher.wait()
        self._port.close()

    def _started(self) -> "subprocess.Popen[bytes]":
        found = importlib.util.find_spec("prefect")
        if found is None or found.origin is None:
            raise PipelineError("the package prefect is not installed")
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(found.origin).parent.parent), "--factory"]
        command += ["prefect.server.api.server:create_app", "--host", HOST, "--port", str(self.port)]
        command += ["--log-level", "error", "--lifespan", "on"]
        with children_outlive_interrupts():
            return subprocess.Popen(command, env={**os.environ, **EPHEMERAL})

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextlib.contextmanager
def children_outlive_interrupts() -> Iterator[None]:
    """Start servers in here: Ctrl-C, which a terminal sends to them too, does not end them.

    Were a server gone, the flow could not tell it that it was interrupted: Prefect's client would try again for
    minutes. A process inherits the mask of the thread that starts it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def embedded_server() -> EmbeddedServer:
    """This process's server, started by the first call; it serves every later flow too."""
    return EmbeddedServer()


@functools.cache
def end_with_this_process(pid: int) -> "subprocess.Popen[bytes]":
    """Let another process end when this one does, however it ends: a shell waits for the pipe to it to close.

    Returns:
        The shell. The cache keeps it, and with it the pipe, for as long as this process lives: one that went with the
        flow that started it would end the server under the next flow.
    """
    # The pipe's other end closes when this process is gone, after kill -9 too, which no handler here would see.
    return subprocess.Popen(
        ["/bin/sh", "-c", f"read _; kill {int(pid)} 2>/dev/null"], stdin=subprocess.PIPE, start_new_session=True
    )


def _reserved_port() -> socket.socket:
    """A socket on a port that is free, which no other process is given while it is open, but which may be listened on.

    So two commands that start at once cannot meet on one port, each taking the other's server for its own.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((HOST, 0))
    return found
