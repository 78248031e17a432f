"""A run in parts that are given out by name and number alone: what is to be done, and what came of it, lie in files.

Nothing comes back through whatever starts the parts, so that it needs to know nothing but the run's folder.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.errors import ClusterError
from pipeline.score.fellow import SHARE_SECONDS, Job
from pipeline.workspace import whole_file

JOB = "job.json"


def write_job(job: Job, own: Mapping[str, str], shards: Sequence[str]) -> None:
    """Write what all parts have in common, and what there is to do, into the run's folder (mode 0600)."""
    _write(Path(job.run) / JOB, {"job": asdict(job), "own": dict(own), "shards": list(shards)})


def read_job(run: Path) -> tuple[Job, dict[str, str]]:
    """The first two of what `write_job` wrote.

    Raises:
        ClusterError: If the run's folder is not seen here.
    """
    record = _read_job(run)
    return Job(**record["job"]), record["own"]


def shards_of(run: Path, part: int, parts: int) -> list[str]:
    """Paths of the shards of a part: every `parts`-th, from the `part`-th on, counted from 1. Raises as `read_job`."""
    shards: list[str] = _read_job(run)["shards"]
    return shards[part - 1 :: parts]


def _read_job(run: Path) -> dict[str, Any]:
    """What `write_job` wrote.

    Raises:
        ClusterError: If the run's folder is not seen here.
    """
    try:
        record: dict[str, Any] = json.loads((run / JOB).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ClusterError(
            "the state folder cannot be used there; all must see the same one by the same path"
        ) from error
    return record


def write_answer(run: Path, part: int, answer: Mapping[str, Any]) -> None:
    """Write what came of a part: `parts` of the ledger and `counts`, or `error` and `words`."""
    _write(run / f"part-{part:05d}.json", answer)


def forget_answer(run: Path, part: int) -> None:
    """Remove the answer of a part that is started again."""
    (run / f"part-{part:05d}.json").unlink(missing_ok=True)


def read_answer(run: Path, part: int, seconds: float = SHARE_SECONDS) -> dict[str, Any]:
    """What came of a part; a share may show it later than it was written.

    Raises:
        ClusterError: If the file does not show.
    """
    end = time.monotonic() + seconds
    path = run / f"part-{part:05d}.json"
    while not path.exists():
        if time.monotonic() > end:
            raise ClusterError(f"part {part} ended without a word; its worker's own log says why")
        time.sleep(0.5)
    answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return answer


def _write(path: Path, record: Mapping[str, Any]) -> None:
    with whole_file(path, private=True) as file:
        json.dump(record, file)
