"""Running a verb's flow on Prefect's embedded server, its database inside the workspace."""

import contextlib
import functools
import importlib
import os
import signal
import subprocess
import threading
from typing import Any

from flows.request import Request
from flows.seal import SealedError
from flows.settings import configure_prefect


def run_flow(module: str, name: str, request: Request) -> dict[str, Any]:
    """Run a flow in this process and return its result.

    The embedded server starts while the flow's own modules are imported: both take seconds, each on one core.

    Args:
        module: Module of the flow.
        name: Name of the flow in it.
        request: What to do; Prefect sees the path of its file only.

    Raises:
        PipelineError, ModelError: Whatever the flow's work raised.
    """
    configure_prefect(request.space.prefect_home)
    server = threading.Thread(target=_start_server, daemon=True)
    server.start()
    flow = getattr(importlib.import_module(module), name)
    server.join()
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    try:
        # Its heartbeat thread would make every flow run a second longer; nobody watches an embedded server.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            result: dict[str, Any] = flow(request.save())
    except SealedError as error:
        raise (error.cause or error) from None
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from None
        raise
    return result


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error followed from Ctrl-C."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _start_server() -> None:
    """Start the embedded server that the flow's client would start; where that fails, the client says why.

    It serves every later flow of this process too, as it does where Prefect's client starts it.
    """
    if os.environ.get("PREFECT_API_URL"):
        return
    from prefect.server.api.server import SubprocessASGIServer

    # The server inherits this thread's mask. Ctrl-C reaches it too, and were it gone, the flow could not tell it that
    # it was interrupted: Prefect's client would try again for more than a minute.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    server = SubprocessASGIServer()
    with contextlib.suppress(RuntimeError):
        server.start(timeout=120)
    if server.server_process is not None:
        end_with_this_process(server.server_process.pid)


@functools.cache
def end_with_this_process(pid: int) -> subprocess.Popen[bytes]:
    """Let another process end when this one does, however it ends: a shell waits for the pipe to it to close.

    Returns:
        The shell. The cache keeps it, and with it the pipe, for as long as this process lives: one that went with the
        flow that started it would end the server under the next flow.
    """
    # The pipe's other end closes when this process is gone, after kill -9 too, which no handler here would see.
    return subprocess.Popen(
        ["/bin/sh", "-c", f"read _; kill {int(pid)} 2>/dev/null"], stdin=subprocess.PIPE, start_new_session=True
    )
