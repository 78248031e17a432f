"""A part of a scoring run as a flow of its own, which a Prefect worker runs on whatever machine it is."""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.retry import SHARD_DELAYS, retried_task
from flows.seal import SealedError, sealed
from pipeline.score.fellow import checked, work
from pipeline.score.parts import read_job, shards_of, write_answer


def run_part_shard(run: str, shard: str) -> dict[str, Any]:
    """Score one shard into this process's part of the ledger."""
    job, own = read_job(Path(run))
    answer = work(job, shard, own)
    if answer.get("again"):
        raise OSError(answer["words"])  # which the task tries again
    return dict(checked(shard, answer))


part_shard_task = retried_task("score-shard", run_part_shard, SHARD_DELAYS)


@flow(name="scanshift-score-part")
def part_flow(run: str, part: int, parts: int) -> dict[str, int]:
    """Score every `parts`-th shard of a run.

    Args:
        run: Folder of the run inside the workspace.
        part: Which part, from 1.
        parts: How many there are.
    """
    written: set[str] = set()
    counts: dict[str, int] = {}
    try:
        for shard in sealed(shards_of)(Path(run), part, parts):
            answer = part_shard_task(run, shard)
            if answer["counts"]:
                written.add(answer["part"])
            for status, number in answer["counts"].items():
                counts[status] = counts.get(status, 0) + number
    except SealedError as error:
        words = "" if error.cause is None else str(error.cause)
        sealed(write_answer)(Path(run), part, {"error": error.kind, "words": words})
        raise
    sealed(write_answer)(Path(run), part, {"parts": sorted(written), "counts": counts})
    return counts
