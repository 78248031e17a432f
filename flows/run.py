"""Running a verb's flow on Prefect's embedded server, its database inside the workspace."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any

from flows.embedded import embedded_server
from flows.request import Request
from flows.seal import SealedError
from flows.settings import configure_prefect
from pipeline.errors import ClusterError


def run_flow(module: str, name: str, request: Request) -> dict[str, Any]:
    """Run a flow in this process and return its result.

    The embedded server starts while the flow's own modules are imported: both take seconds, each on one core.

    Args:
        module: Module of the flow.
        name: Name of the flow in it.
        request: What to do; Prefect sees the path of its file only.

    Raises:
        PipelineError, ModelError: Whatever the flow's work raised.
        ClusterError: If the server that PREFECT_API_URL names does not answer.
    """
    configure_prefect(request.space.prefect_home)
    own = not os.environ.get("PREFECT_API_URL")
    if own:
        embedded_server()
    flow = getattr(importlib.import_module(module), name)
    try:
        with _client_settings(own=own):
            result: dict[str, Any] = flow(request.save())
    except SealedError as error:
        raise (error.cause or error) from None
    except Exception as error:  # Prefect wraps what it meets in classes of its own; all but two kinds are raised again
        if _interrupted(error):
            raise KeyboardInterrupt from None
        if _unanswered(error):
            named = "the embedded Prefect server" if own else "the Prefect server that PREFECT_API_URL names"
            raise ClusterError(f"{named} does not answer") from error
        raise
    return result


@contextlib.contextmanager
def _client_settings(*, own: bool) -> Iterator[None]:
    """What Prefect's client needs to know: the embedded server's address, where no other is configured."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    # Its heartbeat thread would make every flow run a second longer; nobody watches an embedded server.
    settings: dict[Any, Any] = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    if own and not PREFECT_API_URL.value():  # a prefect.toml or profile may name one
        settings[PREFECT_API_URL] = embedded_server().ready()
    with temporary_settings(settings):
        yield


def _unanswered(error: Exception) -> bool:
    """Whether Prefect's client reached no server; it has no class of its own for the first call."""
    import httpx

    return isinstance(error, httpx.TransportError) or str(error).startswith("Failed to reach API")


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error followed from Ctrl-C."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
