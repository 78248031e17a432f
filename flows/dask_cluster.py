"""Scoring on a Dask cluster by its address: one Prefect task holds the client, workers get paths of shard files."""

import contextlib
import importlib.util
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.progress import make_watch
from flows.request import Request
from pipeline.errors import ClusterError, ConfigError
from pipeline.registry.approved import chosen_bundle
from pipeline.score.fellow import Job, await_parts, checked, describe_fellow, difference, greet, settle_engine, work
from pipeline.watch import Watch

CONNECT_SECONDS = 30
WORKER_SECONDS = 60
PAUSES = (5, 30)  # seconds before a shard is given out again that a share which was away has failed
AHEAD = 2  # shards given out for each thread of the cluster
SCHEMES = ("tcp", "tls")


def check_address(address: str) -> str:
    """A scheduler's address.

    Raises:
        ConfigError: If it is none, or the package `distributed` is not installed.
    """
    try:
        parts = urlsplit(address)
        good = parts.scheme in SCHEMES and bool(parts.hostname and parts.port)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"--dask {address}: expected tcp://HOST:PORT or tls://HOST:PORT of a Dask scheduler")
    if importlib.util.find_spec("distributed") is None:
        raise ConfigError("--dask: the package distributed is not installed; install scanshift[dask]")
    return address


def score_on_cluster(asked: Request, shards: Sequence[str]) -> dict[str, int]:
    """Score shards on the cluster of a request.

    A worker that is lost costs what it was doing: Dask gives its shard to another, which goes on behind the series
    that are in the ledger.

    Returns:
        Status to number of series.

    Raises:
        ClusterError: If the cluster cannot be reached, a worker differs from this process, or a shard fails.
    """
    watch = make_watch(run=Path(asked.run))
    bundle = chosen_bundle(asked.bundle, Path(asked.run))
    options = asked.options
    job = Job(str(bundle), asked.workspace, asked.run, options["device"], options.get("engine", ""))
    greet(job)
    own = describe_fellow(job)
    with connected(options["dask"]) as client:
        check_workers(client, job, own)
        watch.note(f"{len(client.nthreads())} Dask workers, {len(shards)} shards")
        if not shards:
            return {}
        settled = checked(shards[0], _one(client, settle_engine, job, shards[0]))
        if settled["note"]:
            watch.note(settled["note"])
        return _scored(client, replace(job, kept=settled["engine"]), shards, own, watch)


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the scheduler at an address, with at least one worker behind it.

    Raises:
        ClusterError: If there is none, or the scheduler goes away.
    """
    from distributed import Client
    from distributed.comm.core import CommClosedError

    for name in ("distributed", "distributed.client", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of it is told in one line below
    try:
        client = Client(address, timeout=CONNECT_SECONDS, name="scanshift")
    except (OSError, TimeoutError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}") from error
    try:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise ClusterError(f"the Dask scheduler at {address} has no worker") from error
        yield client
    except (CancelledError, OSError) as error:
        is_cluster = isinstance(error, (CancelledError, CommClosedError)) or client.status != "running"
        if not is_cluster:
            raise
        raise ClusterError(f"the Dask scheduler at {address} is gone; the same command goes on where it was") from error
    finally:
        client.close(timeout=CONNECT_SECONDS)


def check_workers(client: Any, job: Job, own: Mapping[str, str]) -> None:
    """Let every worker that is there say what it sees; one that comes later is asked before its first shard.

    Raises:
        ClusterError: If one differs.
    """
    try:
        answers = client.run(describe_fellow, job, on_error="return")
    except Exception as error:  # whatever a worker of another version raises comes back as its own class
        raise ClusterError(f"a Dask worker cannot run this version of scanshift ({type(error).__name__})") from error
    for address, record in sorted(answers.items()):
        if not isinstance(record, dict):
            kind = type(record).__name__
            raise ClusterError(f"Dask worker {address}: cannot run this version of scanshift ({kind})")
        if reason := difference(own, record):
            raise ClusterError(f"Dask worker {address}: {reason}")


def _one(client: Any, function: Callable[..., dict[str, Any]], job: Job, shard: str) -> dict[str, Any]:
    return _result(client.submit(function, job, shard, pure=False), shard)


def _scored(client: Any, job: Job, shards: Sequence[str], own: Mapping[str, str], watch: Watch) -> dict[str, int]:
    """Give out all shards, and again those that a share which was away for a moment has failed."""
    queue, waiting = deque(shards), dict[Any, str]()
    tries, counts = Counter[str](), Counter[str]()
    parts: set[str] = set()
    step = watch.bar("scoring shards", len(shards))
    while queue or waiting:
        while queue and len(waiting) < AHEAD * max(1, sum(client.nthreads().values())):
            shard = queue.popleft()
            waiting[client.submit(work, job, shard, own, pure=False)] = shard
        for future in _ended(client, waiting, watch):
            shard = waiting.pop(future)
            answer = _result(future, shard)
            if answer.get("again") and tries[shard] < len(PAUSES):
                time.sleep(PAUSES[tries[shard]])
                tries[shard] += 1
                queue.append(shard)
                continue
            checked(shard, answer)
            if answer["counts"]:
                parts.add(answer["part"])
            counts.update(answer["counts"])
            step(1)
    await_parts(job, parts)
    return dict(counts)


def _ended(client: Any, waiting: Iterable[Any], watch: Watch) -> Iterable[Any]:
    """Futures that have ended, as soon as there is one; none after a minute."""
    from distributed import wait

    try:
        return list(wait(list(waiting), timeout=WORKER_SECONDS, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        if not client.nthreads():
            watch.note("no Dask worker is left; waiting for one")
        return []


def _result(future: Any, shard: str) -> dict[str, Any]:
    """What a future brought.

    Raises:
        ClusterError: If its workers died one after the other, or Dask itself failed.
    """
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    name = Path(shard).stem
    try:
        result: dict[str, Any] = future.result()
    except KilledWorker as error:
        raise ClusterError(f"{name}: every worker that had it died; too little memory?") from error
    except (CancelledError, CommClosedError):  # the scheduler is gone
        raise
    except Exception as error:  # distributed's own errors have no common base
        raise ClusterError(f"{name}: the Dask cluster gave it up ({type(error).__name__})") from error
    return result
