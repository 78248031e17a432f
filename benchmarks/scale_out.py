"""What do two local workers bring, and what does each way of giving out shards cost?

    python benchmarks/scale_out.py FOLDER BUNDLE OUT [--sizes 200 2000] [--empty 60]

Scores the same series, each time into a fresh state, on loopback on this machine:

  one process      the pipeline alone, shard by shard, with as many threads as processors
  dask client      `scanshift score --dask`'s way: distributed's client in one Prefect task; two workers of one thread
  prefect-dask     one Prefect task a shard on prefect-dask's task runner; the same two workers, which talk to a server
  prefect workers  `scanshift score --work-pool`'s way: two flow runs, two process workers, a server on PostgreSQL

and then, to see the cost of giving out alone, --empty shards whose series all are in the ledger already. Prints wall
seconds, seconds a shard, processor seconds of all processes, and what the runs added to the database. Appends finished
cells to OUT/scale_out.jsonl.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
import psycopg

from pipeline.score.ledger import Ledger
from pipeline.score.plan import LEDGER
from tests.clusters import dask_cluster, prefect_server
from tests.postgres import running_server

ROOT = Path(__file__).resolve().parents[1]
POOL = "scans"
PLAN = """
import json, sys
from pathlib import Path
from pipeline.score import folder, place
from pipeline.score import plan as planning
from pipeline.watch import Watch
source, bundle, out, size = *map(Path, sys.argv[1:4]), int(sys.argv[4])
planning.SHARD_SERIES = size
space = place.state_folder(out, None).open()
run = space.run_folder("score")
plan = folder.plan_scores(source, bundle, space, device="cpu", watch=Watch())
shards = folder.write_plan(plan, run)
print(json.dumps([str(space.root.absolute()), str(run.absolute()), [str(path.absolute()) for path in shards]]))
"""
ALONE = """
import sys
from pathlib import Path
from pipeline.score.folder import score_shard
from pipeline.watch import Watch
from pipeline.workspace import Workspace
bundle, space, *shards = map(Path, sys.argv[1:])
for shard in shards:
    score_shard(shard, bundle, Workspace(space), device="cpu", engine="eager", watch=Watch())
"""
GIVEN_OUT = """
import json, sys
from pathlib import Path
from flows.settings import configure_prefect
way, address, request = sys.argv[1:4]
shards = json.loads(Path(sys.argv[4]).read_text())
configure_prefect(Path(request).parent / "prefect")
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from flows.request import read_request
asked = read_request(request)
if way == "prefect-dask":
    from prefect_dask import DaskTaskRunner
    from flows.score_part import part_shard_task
    from pipeline.score.fellow import Job, describe_fellow, greet
    from pipeline.score.parts import write_job
    job = Job(asked.bundle, asked.workspace, asked.run, "cpu", "eager")
    greet(job)
    write_job(job, describe_fellow(job), shards)
    @flow(task_runner=DaskTaskRunner(address=address))
    def spread():
        return [future.result() for future in part_shard_task.map([asked.run] * len(shards), shards)]
else:
    from flows.dask_cluster import score_on_cluster
    from flows.work_pool import score_on_pool
    scored = score_on_cluster if way == "dask client" else score_on_pool
    elsewhere = task(name="score-elsewhere", cache_policy=NO_CACHE)(lambda: scored(asked, shards))
    @flow
    def spread():
        return elsewhere()
import time
started = time.perf_counter()
spread()
print(time.perf_counter() - started)
"""


def python(code: str, *arguments: object, **environment: str) -> tuple[float, str]:
    """Run Python code to its end; wall seconds and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{arguments[:2]}: {done.stderr[-3000:]}")
    return time.perf_counter() - started, done.stdout


def database_bytes(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("select pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0


def processor_seconds() -> float:
    """Of everything this process started, servers and workers too, but not of PostgreSQL."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def planned(options: argparse.Namespace, out: Path, size: int, address: str = "") -> tuple[str, Path]:
    """A fresh plan; paths of its request and of the list of its shards."""
    from flows.request import Request

    _, text = python(PLAN, options.folder, options.bundle, out, size)
    space, run, shards = json.loads(text)
    choices = {"device": "cpu", "engine": "eager", "dask": address, "work_pool": POOL, "parts": 2}
    bundle = str(options.bundle.absolute())
    request = Request("score", space, run, (str(options.folder.absolute()),), bundle, str(out.absolute()), choices)
    listed = Path(run) / "shards.txt"
    listed.write_text(json.dumps(shards))
    return request.save(), listed


def main() -> None:
    """Run the cells and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=[200, 2000])
    parser.add_argument("--empty", type=int, default=60)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as servers:
        socket = servers.enter_context(running_server())
        url = f"postgresql://scanshift@/postgres?host={socket}"
        database = url.replace("postgresql:", "postgresql+asyncpg:")
        prefect = servers.enter_context(prefect_server(options.out.absolute(), database, pool=POOL))
        os.environ.update({name: value for name, value in prefect.environment.items() if name != "PREFECT_HOME"})
        os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
        dask = servers.enter_context(dask_cluster(options.out.absolute()))
        cells(options, url, dask.address)


def cells(options: argparse.Namespace, url: str, address: str) -> None:
    """Every way at every size, then shards with nothing to score."""
    ways = ("dask client", "prefect-dask", "prefect workers")
    warm(options, ways, url, address)
    out = options.out / "state"
    alone(options, out, options.sizes[0])
    for size in options.sizes:
        for way in ways:
            shutil.rmtree(out, ignore_errors=True)
            tell(options, given_out(options, out, size, way, url, address))
    one_each = max(1, series(options.out / "state") // options.empty)
    for way in ways:
        cell = given_out(options, options.out / "state", one_each, way, url, address, done=True)
        tell(options, {**cell, "way": f"{way}, nothing to score"})


def alone(options: argparse.Namespace, out: Path, size: int) -> None:
    """The pipeline in one process, without Prefect, its imports within the time."""
    shutil.rmtree(out, ignore_errors=True)
    request, listed = planned(options, out, size)
    shards = json.loads(listed.read_text())
    space = json.loads(Path(request).read_text())["workspace"]
    began = processor_seconds()
    seconds, _ = python(ALONE, options.bundle, space, *shards, OMP_NUM_THREADS=str(os.cpu_count()))
    cell = {"way": "one process", "size": size, "shards": len(shards), "seconds": seconds, "bytes": 0}
    tell(options, {**cell, "cpu": processor_seconds() - began})


def series(state: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in (state / ".scanshift").glob("ledger*.jsonl"))


def warm(options: argparse.Namespace, ways: tuple[str, ...], url: str, address: str) -> None:
    """Let every worker load its modules once, outside the figures."""
    few = options.out / "few"
    files = sorted(path for path in options.folder.rglob("*") if path.is_file())[:8]
    few.mkdir(exist_ok=True)
    for n, path in enumerate(files):
        if not (few / f"{n}{path.suffix}").exists():
            shutil.copyfile(path, few / f"{n}{path.suffix}")
    small = argparse.Namespace(**{**vars(options), "folder": few})
    for way in ways:
        shutil.rmtree(options.out / "warm", ignore_errors=True)
        given_out(small, options.out / "warm", 2, way, url, address)


def given_out(
    options: argparse.Namespace, out: Path, size: int, way: str, url: str, address: str, *, done: bool = False
) -> dict[str, Any]:
    """One cell: seconds of the flow from its start to its end, without Prefect's import."""
    request, listed = planned(options, out, size, address if way != "prefect workers" else "")
    if done:  # the plan left out what is done: shards of it are written all the same
        listed.write_text(json.dumps(all_shards(Path(request).parent, size)))
    before, began = database_bytes(url), processor_seconds()
    _, text = python(GIVEN_OUT, way, address, request, listed)
    shards = len(json.loads(listed.read_text()))
    time.sleep(5)  # the server writes events behind
    return {
        "way": way,
        "size": size,
        "shards": shards,
        "seconds": float(text.splitlines()[-1]),
        "cpu": processor_seconds() - began,
        "bytes": database_bytes(url) - before,
    }


def all_shards(run: Path, size: int) -> list[str]:
    """Shards of every readable series of a plan."""
    from pipeline.score.ref_file import read_refs, write_refs

    refs = [ref for ref in read_refs(run / "plan.json") if ref.status == "ok"]
    paths = []
    for n in range(0, len(refs), size):
        paths.append(run / f"shard-{n // size:05d}.json")
        write_refs(paths[-1], refs[n : n + size], run_series=len(refs))
        for part in Ledger(run.parents[2] / LEDGER).parts:  # as if begun before: the results stand behind the mark
            paths[-1].with_name(f"{paths[-1].stem}.began-{part}").write_text("0")
    return [str(path) for path in paths]


def tell(options: argparse.Namespace, cell: dict[str, Any]) -> None:
    """Print a cell and keep it."""
    cell = {**cell, "load": round(os.getloadavg()[0], 1)}
    each = cell["seconds"] / max(1, cell["shards"])
    print(
        f"{cell['way']:38s} {cell['shards']:4d} shards of {cell['size']:4d}: {cell['seconds']:7.1f} s, {each:6.2f} s a "
        f"shard, {cell['cpu']:6.1f} CPU s, database +{cell['bytes'] / 1024:.0f} KiB, load {cell['load']}",
        flush=True,
    )
    with (options.out / "scale_out.jsonl").open("a") as file:
        file.write(json.dumps(cell) + "\n")


if __name__ == "__main__":
    main()
