"""What does Prefect cost? The score flow against the same work without it, as whole processes.

    python benchmarks/prefect_cost.py [--small 500] [--large 2500] [--pairs 3] [--keep FOLDER]

Writes radiographs of 32 x 32 pixels as DICOM and an untrained squeezenet1_1 bundle at 64 pixels, so that little but
the handling of series is left; then runs in turn, each into an output folder of its own:

  A  `scanshift score` as a process: the flow on Prefect's embedded server, its database there from before, nothing else
  B  `pipeline.score.folder.score_folder` as a process: the same work, no Prefect

With c(n) = A(n) - B(n): marginal cost per 1,000 series = 1000 (c(large) - c(small)) / (large - small), and start-up =
c(small) - small / 1000 of that. Medians over the pairs; the spread is printed too, since small differences of large
times are noisy. Cells that are finished stand in `cells.jsonl` of the folder and are not run again.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from overhead import ROOT, run, synthetic, timed

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


def forget(workspace: Path) -> None:
    """Empty a workspace but for Prefect's database: no catalogue or ledger of an earlier run, as B has none."""
    for path in workspace.iterdir():
        if path.is_dir() and path.name != "prefect":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def measure(folder: Path, sizes: tuple[int, int], pairs: int) -> dict[tuple[str, int], list[float]]:
    """Seconds of every cell."""
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
                seconds = timed(command(side, folder / str(size), folder / "bundle", out))
                done.append({**key, "seconds": round(seconds, 2)})
                print(done[-1], flush=True)
                with cells.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
    return {(s, n): [c["seconds"] for c in done if (c["side"], c["series"]) == (s, n)] for s in "AB" for n in sizes}


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
    found = measure(folder, sizes, options.pairs)
    small, large = (
        [a - b for a, b in zip(found["A", n], found["B", n], strict=True)] for n in sizes
    )  # pairs ran one after the other
    slopes = [1000 * (c - d) / (sizes[1] - sizes[0]) for c, d in zip(large, small, strict=True)]
    slope = 1000 * (median(large) - median(small)) / (sizes[1] - sizes[0])
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for side, what in (("A", "score flow"), ("B", "no Prefect")):
        print(f"{side} {what}: " + ", ".join(f"{n} series {median(found[side, n]):.1f} s" for n in sizes))
    print(f"marginal cost of Prefect per 1,000 series: {slope:.2f} s (pairs {min(slopes):.2f} to {max(slopes):.2f})")
    print(f"start-up: {median(small) - sizes[0] / 1000 * slope:.1f} s")
    if not options.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
