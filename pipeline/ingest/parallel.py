"""Work on several items at once, with the results in order and never more than a few ahead."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results of `work` on each item, in order; threads, one per core, for work that waits or leaves the interpreter.

    The first error ends it, once the items under way are done.
    """
    at_once = min(8, cores())
    coming: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=at_once) as threads:
        try:
            for item in items:
                coming.append(threads.submit(work, item))
                if len(coming) > 2 * at_once:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()
