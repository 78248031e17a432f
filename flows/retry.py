"""Which failures of a task are worth another try."""

from collections.abc import Callable, Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.seal import SealedError, sealed

SHARD_DELAYS = (5, 30)  # seconds before a shard is tried again


def may_pass_next_time(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what the outside caused, such as a share that was away for a moment; not what the data caused."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, SealedError) and isinstance(error.cause, OSError)


def retried_task(name: str, function: Callable[..., Any], delays: Sequence[int]) -> Any:
    """A task that hands on no identity and caches nothing, tried again after so many seconds each time."""
    return task(
        name=name,
        cache_policy=NO_CACHE,
        retries=len(delays),
        retry_delay_seconds=list(delays),
        retry_condition_fn=may_pass_next_time,
    )(sealed(function))
