"""Running a verb's flow on Prefect's embedded server, its database inside the workspace."""

import contextlib
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
    keepers: list[subprocess.Popen[bytes]] = []
    server = threading.Thread(target=_start_server, args=(keepers,), daemon=True)
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


def _start_server(keepers: list[subprocess.Popen[bytes]]) -> None:
    """Start the embedded server that the flow's client would start; where that fails, the client says why.

    Args:
        keepers: Gets the process that ends the server when this process is gone.
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
        keepers.append(end_with_this_process(server.server_process.pid))


def end_with_this_process(pid: int) -> subprocess.Popen[bytes]:
    """Let another process end when this one does, however it ends: a shell waits for the pipe to it to close.

    Returns:
        The shell; the pipe stays open for as long as this is kept.
    """
    # The pipe's other end closes when this process is gone, after kill -9 too, which no handler here would see.
    return subprocess.Popen(
        ["/bin/sh", "-c", f"read _; kill {int(pid)} 2>/dev/null"], stdin=subprocess.PIPE, start_new_session=True
    )
