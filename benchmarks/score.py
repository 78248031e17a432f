"""How fast are scan folders scored, beside the script that one would write oneself?

    python benchmarks/score.py out [--series 2000] [--pairs 3] [--networks densenet169 mobilenet_v2 resnet18@layer3]

Needs ../shared (radiographs of guangzhou, wrapped as DICOM, and weights). For each network a bundle is adapted by a
linear probe, then, in turn, in the same minutes on the same machine, each as a whole process:

  A  `scanshift score` with `engine: auto`, a fresh output each time; engines sealed once are kept
  B  benchmarks/obvious_script.py: pydicom, torchvision in eager float32, a DataLoader with two workers
  C  the same with MONAI's transforms and DataLoader, once

It prints scans a second, the ratio A / B pair by pair, decisions that differ, and of A, measured inside one more
run, the share of the time of scoring in which the network ran. Finished cells are appended to out/score.jsonl.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
NETWORKS = ("densenet169", "mobilenet_v2", "resnet18@layer3")
INSIDE = """
import json, sys, time
from pathlib import Path
from pipeline.detect import slices
from pipeline.score import folder, scorer
from pipeline.score.engines import runner
from pipeline.watch import Watch

spent = {"forward": 0.0, "scoring": 0.0}

def timed(name, function):
    def call(*arguments, **options):
        started = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] += time.perf_counter() - started
    return call

batches = runner.in_batches
runner.in_batches = lambda samples, run, device, **more: batches(samples, timed("forward", run), device, **more)
folder.score_series = timed("scoring", scorer.score_series)
source, bundle, out = map(Path, sys.argv[1:4])
state = folder.state_folder(out, None).open()
folder.score_folder(source, bundle, out, watch=Watch())
engine = json.loads((out / ".scanshift" / "ledger.jsonl").read_text().splitlines()[-1])["engine"]
print(json.dumps(spent | {"engine": engine}))
"""


def run(command, **more):
    """Run a command to its end and return the seconds it took."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False, **more
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{command[:4]}: {done.stderr[-2000:]}")
    return seconds, done.stdout


def radiographs(out, series):
    """The folder of scans to score and the labels.csv to adapt with; made once."""
    hospital = out / "hospital"
    if not (hospital / "labels.csv").exists():
        maker = SHARED / "tools" / "make_hospital.py"
        run([sys.executable, maker, "cxr", hospital, "--site", "guangzhou"])
    folder = out / f"scans-{series}"
    if not folder.exists():
        with (hospital / "labels.csv").open(newline="") as file:
            paths = [row["path"] for row in csv.DictReader(file)][:series]
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(hospital / path, folder / path)
    return folder, hospital / "labels.csv"


def bundle_of(network, labels, out):
    """A bundle of the network, adapted once."""
    folder = out / "bundles" / network
    if not folder.exists():
        settings = [f"backbone={network}", "strategy=linear_probe", "classes=[normal,pneumonia]"]
        options = [part for setting in settings for part in ("--set", setting)]
        command = [sys.executable, "-m", "flows.cli", "adapt", labels, "-w", out / "workspace", "--bundle", folder]
        run([*command, *options])
    return folder


def ours(folder, bundle, out, engines):
    """Score into a fresh output, with the engines of earlier runs at hand; seconds and the output."""
    target = out / "ours"
    shutil.rmtree(target, ignore_errors=True)
    place = target / ".scanshift" / "cache" / "engines"
    if engines.exists():
        shutil.copytree(engines, place)
    command = [sys.executable, "-m", "flows.cli", "score", folder, "--bundle", bundle, "-o", target, "--engine", "auto"]
    seconds, _ = run(command)
    if not engines.exists() and place.exists():
        shutil.copytree(place, engines)
    return seconds, target / "scores.csv"


def scores(path):
    with path.open(newline="") as file:
        return {row["series_uid"]: float(row["anomaly_score"]) for row in csv.DictReader(file) if row["anomaly_score"]}


def differing(mine, theirs, threshold):
    """Series that lie on the other side of the threshold, and those scored by one alone.

    What is referred to a person counts by its score: the script knows no referral.
    """
    first, second = scores(mine), scores(theirs)
    both = first.keys() & second.keys()
    return {
        "decided otherwise": sum((first[uid] >= threshold) != (second[uid] >= threshold) for uid in both),
        "scored by one alone": len(first.keys() ^ second.keys()),
        "largest difference": max(abs(first[uid] - second[uid]) for uid in both),
    }


def inside(folder, bundle, out, engines):
    """Share of the scoring in which the network ran, and the engine."""
    target = out / "inside"
    shutil.rmtree(target, ignore_errors=True)
    if engines.exists():
        shutil.copytree(engines, target / ".scanshift" / "cache" / "engines")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    _, printed = run([sys.executable, "-c", INSIDE, folder, bundle, target], env=environment)
    return json.loads(printed.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    options = parser.parse_args()
    if not SHARED.exists():
        sys.exit("../shared is not there: nothing to measure with")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SCANSHIFT_WEIGHTS", str(SHARED / "weights"))
    folder, labels = radiographs(out, options.series)
    for network in options.networks:
        bundle = bundle_of(network, labels, out)
        engines = out / "engines" / network
        script = [sys.executable, ROOT / "benchmarks" / "obvious_script.py", folder, bundle]
        cold, _ = ours(folder, bundle, out, engines)
        pairs = []
        for _ in range(options.pairs):
            mine, scores = ours(folder, bundle, out, engines)
            theirs, _ = run([*script, out / "theirs.csv"], env={**os.environ, "PYTHONPATH": str(ROOT)})
            pairs.append((mine, theirs))
        row = {
            "network": network,
            "series": options.series,
            "cold": cold,
            "pairs": pairs,
            "differing": differing(scores, out / "theirs.csv"),
            "inside": inside(folder, bundle, out, engines),
        }
        row["monai"], _ = run(
            [*script, out / "monai.csv", "--loader", "monai"], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        with (out / "score.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(line(row), flush=True)


def line(row):
    """A row of the table."""
    n = row["series"]
    ratios = [theirs / mine for mine, theirs in row["pairs"]]
    mine, theirs = (median(pair[side] for pair in row["pairs"]) for side in (0, 1))
    share = row["inside"]["forward"] / row["inside"]["scoring"]
    return (
        f"| {row['network']} | {row['inside']['engine']} | {n / mine:.0f} ({n / row['cold']:.0f} the first time) "
        f"| {n / theirs:.0f} | {n / row['monai']:.0f} | {median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) "
        f"| {row['differing']} | {100 * share:.0f} % |"
    )


if __name__ == "__main__":
    main()
