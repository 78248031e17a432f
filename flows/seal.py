"""What Prefect's database may know of a failure: its kind, never its words, which can hold a path."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from flows.progress import log_line
from flows.request import read_request
from models.errors import ModelError
from pipeline.errors import PipelineError

P = ParamSpec("P")
R = TypeVar("R")


class SealedError(Exception):
    """Stands for an error on its way through Prefect.

    Attributes:
        kind: The error's class, which is all that Prefect stores.
        cause: The error itself; stays in this process, a copy does not have it.
    """

    def __init__(self, kind: str, cause: Exception | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.cause = cause

    def __reduce__(self) -> tuple[type["SealedError"], tuple[str]]:
        """Leave the cause out when Prefect pickles the error into its result storage."""
        return (type(self), (self.kind,))


def sealed(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function raise its errors as `SealedError`, whose text is the error's class and nothing else."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except SealedError:
            raise
        except Exception as error:  # noqa: BLE001  the rim: whatever passes here would be stored by Prefect
            raise SealedError(type(error).__name__, error) from None

    return call


@contextlib.contextmanager
def failure_logged(request: str) -> Iterator[None]:
    """Write into the `log.txt` of a request's run why it failed, since Prefect learns the kind of an error alone."""
    try:
        yield
    except SealedError as error:
        sealed(log_failure)(request, error)
        raise


def log_failure(request: str, error: SealedError, what: str = "failed") -> None:
    """Write one failure into the log: our own errors in words; of others, whose words may hold anything, the class."""
    cause = error.cause
    words = str(cause) if isinstance(cause, (PipelineError, ModelError)) else error.kind
    with contextlib.suppress(OSError):  # such as a full disk; the failure itself matters more
        log_line(Path(read_request(request).run), f"{what}: {words}")
