"""What does Prefect cost? The score flow against the same work without it, as whole processes.

    python benchmarks/prefect_cost.py [--small 500] [--large 2500] [--pairs 3] [--keep FOLDER]

Writes radiographs of 32 x 32 pixels as DICOM and an untrained squeezenet1_1 bundle at 64 pixels, so that little but
the handling of series is left; then runs in turn, each into an output folder of its own:

  A  `scanshift score` as a process: the flow on Prefect's embedded server, its database there from before, nothing else
  B  `pipeline.score.folder.score_folder` as a process: the same work, no Prefect

Wall seconds, and CPU seconds of the process with everything that it started, the server too; where other work shares
the cores only the latter mean something. With c(n) = A(n) - B(n): marginal cost per 1,000 series =
1000 (c(large) - c(small)) / (large - small), and start-up = c(small) - small / 1000 of that. Medians over the pairs;
the spread is printed too, since small differences of large times are noisy. Cells that are finished stand in
`cells.jsonl` of the folder and are not run again.
"""

import argparse
import contextlib
import ctypes
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from overhead import ROOT, run, synthetic

PR_SET_CHILD_SUBREAPER = 36
KINDS = ("wall", "cpu")
BUNDLE = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from conftest import make_bundle
make_bundle(Path(sys.argv[1]))
"""
PLAIN = """
import sys
from pathlib import Path
from pipeline.score.folder import score_folder
score_folder(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), device="cpu", engine="eager")
"""


def command(side: str, scans: Path, bundle: Path, out: Path) -> list[str]:
    """The process of one side."""
    if side == "B":
        return [sys.executable, "-c", PLAIN, str(scans), str(bundle), str(out)]
    score = [sys.executable, "-m", "flows.cli", "score", str(scans), "--bundle", str(bundle), "-o", str(out)]
    return [*score, "-w", str(out.parent / "ws"), "--device", "cpu", "--engine", "eager"]


def spent(command: list[str]) -> tuple[float, float]:
    """Wall seconds, and CPU seconds of a command and all its descendants.

    Orphans, as the embedded server becomes one, fall to this process (PR_SET_CHILD_SUBREAPER) and are waited for.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run(command)
    wall = time.perf_counter() - start
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def forget(workspace: Path) -> None:
    """Empty a workspace but for Prefect's database: no catalogue or ledger of an earlier run, as B has none."""
    for path in workspace.iterdir():
        if path.is_dir() and path.name != "prefect":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def measure(folder: Path, sizes: tuple[int, int], pairs: int) -> list[dict[str, Any]]:
    """Every cell: pair, series, side, wall and CPU seconds."""
    cells = folder / "cells.jsonl"
    done = [json.loads(line) for line in cells.read_text().splitlines()] if cells.exists() else []
    for pair in range(pairs):
        for size in sizes:
            for side in "AB" if pair % 2 else "BA":
                key = {"pair": pair, "series": size, "side": side}
                if any(key.items() <= cell.items() for cell in done):
                    continue
                out = folder / f"out-{side}-{size}-{pair}"
                shutil.rmtree(out, ignore_errors=True)
                forget(folder / "ws")
                wall, cpu = spent(command(side, folder / str(size), folder / "bundle", out))
                done.append({**key, "wall": round(wall, 2), "cpu": round(cpu, 2), "load": os.getloadavg()[0]})
                print(done[-1], flush=True)
                with cells.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
    return [cell for cell in done if cell["pair"] < pairs and cell["series"] in sizes]


def tell(cells: list[dict[str, Any]], kind: str, small: int, large: int) -> None:
    """Print the medians, the marginal cost and the start-up of one kind of seconds."""
    at = {(c["side"], c["series"], c["pair"]): c[kind] for c in cells}
    pairs = sorted({c["pair"] for c in cells})
    for side, what in (("A", "score flow"), ("B", "no Prefect")):
        times = (f"{n} series {median(at[side, n, p] for p in pairs):.1f} s" for n in (small, large))
        print(f"{kind}: {side} {what}: {', '.join(times)}")
    cost = {n: [at["A", n, p] - at["B", n, p] for p in pairs] for n in (small, large)}
    slopes = [1000 * (c - d) / (large - small) for c, d in zip(cost[large], cost[small], strict=True)]
    slope = median(slopes)
    print(f"{kind}: marginal cost per 1,000 series {slope:.2f} s (pairs {min(slopes):.2f} to {max(slopes):.2f})")
    print(f"{kind}: start-up {median(cost[small]) - small / 1000 * slope:.1f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--large", type=int, default=2500)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="work here, go on where it stopped, and leave the files")
    options = parser.parse_args()
    sizes = (options.small, options.large)
    folder = (options.keep or Path(tempfile.mkdtemp(prefix="scanshift-prefect-"))).absolute()
    for size in sizes:
        if not (folder / str(size)).exists():
            synthetic(folder / str(size), size, 32)
    if not (folder / "bundle").exists():
        run([sys.executable, "-c", BUNDLE, str(folder / "bundle")])
        first = command("A", ROOT / "sample_data" / "incoming", folder / "bundle", folder / "warm")
        run(first)  # Prefect's database is made once, not every night
    cells = measure(folder, sizes, options.pairs)
    print(f"{os.cpu_count()} cores")
    for kind in KINDS:
        tell(cells, kind, *sizes)
    if not options.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
