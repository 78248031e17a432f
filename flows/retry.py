"""Which failures of a task are worth another try."""

from typing import Any

from flows.seal import SealedError


def may_pass_next_time(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what the outside caused, such as a share that was away for a moment; not what the data caused."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, SealedError) and isinstance(error.cause, OSError)
