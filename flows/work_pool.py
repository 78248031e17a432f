"""Scoring over Prefect workers: one flow run for each part, which the workers of a pool take as they are free."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx

from flows.automations import HEARTBEAT_SECONDS
from flows.progress import make_watch
from flows.request import Request
from flows.settings import SILENT
from pipeline.errors import ClusterError, ConfigError
from pipeline.registry.approved import chosen_bundle
from pipeline.score.fellow import Job, await_parts, checked, describe_fellow, greet, settle_engine
from pipeline.score.parts import forget_answer, read_answer, write_job
from pipeline.watch import Watch

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LOOK_SECONDS = 1.0
TELL_SECONDS = 60.0
TRIES = 3


def check_pool(pool: str, parts: int) -> str:
    """A pool's name.

    Raises:
        ConfigError: If there is no server that workers could share, or no part.
    """
    if parts < 1:
        raise ConfigError(f"--parts {parts}: expected 1 or more")
    if not os.environ.get("PREFECT_API_URL"):
        raise ConfigError(f"--work-pool {pool}: set PREFECT_API_URL to the Prefect server of the pool's workers")
    return pool


def score_on_pool(asked: Request, shards: Sequence[str]) -> dict[str, int]:
    """Score shards in parts, each a flow run of the pool, and wait for all.

    Returns:
        Status to number of series.

    Raises:
        ClusterError: If the pool does not exist, a part fails (the others are cancelled then), or the server is gone.
    """
    from prefect.client.orchestration import get_client

    watch = make_watch(run=Path(asked.run))
    options = asked.options
    bundle = str(chosen_bundle(asked.bundle, Path(asked.run)))
    job = Job(bundle, asked.workspace, asked.run, options["device"], options.get("engine", ""))
    if not shards:
        return {}
    settled = checked(shards[0], settle_engine(job, shards[0]))
    if settled["note"]:
        watch.note(settled["note"])
    job = replace(job, kept=settled["engine"])
    greet(job)
    write_job(job, describe_fellow(job), shards)
    parts = min(int(options["parts"]), len(shards))
    watch.note(f"work pool {options['work_pool']}: {len(shards)} shards in {parts} parts")
    try:
        with get_client(sync_client=True) as client:
            counts, written = PoolRuns(client, _deploy(client, options["work_pool"]), job, parts).all(watch)
    except httpx.HTTPError as error:
        kind = type(error).__name__
        raise ClusterError(f"the Prefect server failed ({kind}); the same command goes on where it was") from error
    await_parts(job, written)
    return counts


def _deploy(client: "SyncPrefectClient", pool: str) -> UUID:
    """Tell the server how the pool's workers run a part; the code is what is installed beside them.

    Raises:
        ClusterError: If the pool does not exist.
    """
    from prefect.exceptions import ObjectNotFound
    from prefect.types.entrypoint import EntrypointType

    from flows.score_part import part_flow

    try:
        client.read_work_pool(pool)
    except ObjectNotFound as error:
        raise ClusterError(
            f"work pool {pool}: not on the Prefect server; make it with prefect work-pool create --type process {pool}"
        ) from error
    deployment: Any = part_flow.to_deployment(
        name=f"pool-{pool}",
        work_pool_name=pool,
        entrypoint_type=EntrypointType.MODULE_PATH,
        job_variables={"env": SILENT | {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}},
    )
    identity: UUID = deployment.apply()
    return identity


class PoolRuns:
    """The flow runs of one scoring run.

    Args:
        client: Of the server.
        deployment: How a part is run.
        job: The run.
        parts: How many there are, one flow run each.
    """

    def __init__(self, client: "SyncPrefectClient", deployment: UUID, job: Job, parts: int) -> None:
        self.client, self.deployment, self.job, self.parts = client, deployment, job, parts
        self.tries: Counter[int] = Counter()
        self.open: dict[int, UUID] = {}

    def all(self, watch: Watch) -> tuple[dict[str, int], set[str]]:
        """Create the flow runs and `wait`; what has not ended is cancelled if anything goes wrong."""
        try:
            for part in range(1, self.parts + 1):
                self.open[part] = self._create(part)
            return self.wait(watch)
        except BaseException:
            with contextlib.suppress(httpx.HTTPError):  # it would hide why
                self._cancel()
            raise

    def _create(self, part: int) -> UUID:
        self.tries[part] += 1
        forget_answer(Path(self.job.run), part)
        parameters = {"run": self.job.run, "part": part, "parts": self.parts}
        return self.client.create_flow_run_from_deployment(self.deployment, parameters=parameters).id

    def wait(self, watch: Watch) -> tuple[dict[str, int], set[str]]:
        """Wait until all have ended; one that crashed, such as with its machine, is started again.

        Returns:
            Status to number of series, and names of the ledger's parts that were written.

        Raises:
            ClusterError: If one fails, is cancelled, or crashes three times.
        """
        step, told = watch.bar("scoring parts", self.parts), time.monotonic()
        counts: Counter[str] = Counter()
        written: set[str] = set()
        while self.open:
            states = {part: self.client.read_flow_run(run).state for part, run in self.open.items()}
            for part, state in states.items():
                if state is None or not state.is_final():
                    continue
                if state.is_crashed() and self.tries[part] < TRIES:
                    watch.note(f"part {part} of {self.parts} crashed and is started again")
                    self.open[part] = self._create(part)
                    continue
                answer = self._answer(part, state.name or "")
                del self.open[part]
                counts.update(answer["counts"])
                written.update(answer["parts"])
                step(1)
            if self.open and time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                watch.note(f"parts not done: {_named(state.name for state in states.values() if state)}")
            time.sleep(LOOK_SECONDS if self.open else 0)
        return dict(counts), written

    def _answer(self, part: int, ended: str) -> dict[str, Any]:
        if ended not in ("Completed", "Failed"):
            raise ClusterError(f"part {part} of {self.parts}: {ended.lower()}")
        return dict(checked(f"part {part}", read_answer(Path(self.job.run), part)))

    def _cancel(self) -> None:
        from prefect.states import Cancelling

        for run in self.open.values():
            self.client.set_flow_run_state(run, Cancelling())


def _named(names: Iterable[str | None]) -> str:
    return ", ".join(f"{count} {str(name).lower()}" for name, count in sorted(Counter(names).items(), key=str))
