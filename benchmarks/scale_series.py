"""Do memory and cost of a series stay the same, however many series there are?

    python benchmarks/scale_series.py out [--counts 500 10000] [--rounds 3]

Radiographs of 64 by 64 pixels and an untrained squeezenet1_1, so that all but the network weighs as much as it can.
Runs of each count take turns, each a process of its own with a fresh output. Of each it prints the highest resident
memory of the process, and what a series took once everything was imported: wall clock, and processor time, which other
work on the machine disturbs less. Finished runs are appended to out/scale_series.jsonl.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from statistics import median

from child import run_child

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CHILD = """
import json, resource, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from pipeline.score import folder
from pipeline.watch import Watch

source, bundle, out = map(Path, sys.argv[1:4])
spent = {}

def timed(name):
    function = getattr(folder, name)
    def call(*arguments, **options):
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            before = spent.get(name, [0.0, 0.0])
            spent[name] = [before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu]
            spent["rss_mib " + name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    setattr(folder, name, call)

spent["rss_mib imported"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
for name in ("plan_scores", "write_plan", "score_shard", "finish"):
    timed(name)
wall, cpu = time.perf_counter(), time.process_time()
counts = folder.score_folder(source, bundle, out, device="cpu", watch=Watch())["counts"]
spent["all"] = [time.perf_counter() - wall, time.process_time() - cpu]
spent["counts"] = counts
spent["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(spent))
"""


def measure(scans, bundle, out):
    """Score once into a fresh output, in a process of its own."""
    shutil.rmtree(out, ignore_errors=True)
    return run_child(CHILD, scans, bundle, out, OMP_NUM_THREADS="1")


def main():
    from benchmarks.tiny_site import make_bundle, make_scans

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    out = options.out.resolve()
    bundle = make_bundle(out / "bundle")
    folders = {count: make_scans(out / f"scans-{count}", count) for count in options.counts}
    found = {count: [] for count in options.counts}
    for _ in range(options.rounds):
        for count, scans in folders.items():
            row = {"series": count, "load": os.getloadavg()[0], **measure(scans, bundle, out / "scores")}
            found[count].append(row)
            with (out / "scale_series.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
    first = None
    for count, rows in found.items():
        rss = median(row["rss_mib"] for row in rows)
        wall, cpu = (1000 * median(row["all"][n] for row in rows) / count for n in (0, 1))
        first = first or (rss, wall, cpu)
        ratios = ", ".join(f"{now / then:.3f}" for now, then in zip((rss, wall, cpu), first, strict=True))
        load = ", ".join(f"{row['load']:.1f}" for row in rows)
        cost = f"{wall:.2f} ms and {cpu:.2f} ms CPU a series"
        print(f"{count} series: {rss:.0f} MiB, {cost}; ratios {ratios}; load {load}")


if __name__ == "__main__":
    main()
