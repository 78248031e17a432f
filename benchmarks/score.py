"""How fast are scan folders scored, beside the script that one would write oneself?

    python benchmarks/score.py out [--series 2000] [--pairs 3] [--networks densenet169 mobilenet_v2 resnet18@layer3]

Needs ../shared (radiographs of guangzhou, wrapped as DICOM, and weights). For each network a bundle is adapted by a
linear probe, then, in turn, in the same minutes on the same machine, each as a whole process:

  A  `scanshift score` with `engine: auto` into a fresh output, in the workspace of an earlier night: its engines and
     Prefect's database are there, its ledger is not; the first time, in a new workspace, apart
  B  benchmarks/obvious_script.py: pydicom, torchvision in eager float32, a DataLoader with two workers
  C  the same with MONAI's transforms and DataLoader, once
  D  anomalib's OpenVINO inferencer with the same network, once (benchmarks/inferencer_peer.py)

It prints scans a second, the ratio A / B pair by pair, scans on the other side of the threshold, and of A, measured
inside one more run, the share of the time of scoring, and of A's whole wall time, in which the network ran. Finished
rows are appended to out/score.jsonl.
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

from anomaly_peers import make_environment
from child import run_child

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.bundle import open_bundle
from pipeline.model_record import read_record

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}
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


def ours(folder, bundle, out, *, fresh=False):
    """Score everything; seconds and the table.

    Args:
        fresh: In a new workspace, with no engine and no database of Prefect there; else in that of the night before,
            where all of the ledger, catalogue and caches but these two are removed.
    """
    target, workspace = out / "ours", out / "nights" / bundle.name
    shutil.rmtree(target, ignore_errors=True)
    if fresh:
        shutil.rmtree(workspace, ignore_errors=True)
    elif workspace.exists():
        for path in workspace.iterdir():
            if path.name not in ("prefect", "cache"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (workspace / "cache").iterdir():
            if path.name != "engines":
                shutil.rmtree(path)
    command = [sys.executable, "-m", "flows.cli", "score", folder, "--bundle", bundle, "-o", target, "-w", workspace]
    seconds, _ = run([*command, "--engine", "auto"])
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


def inside(folder, bundle, out):
    """Seconds of scoring, those in which the network ran, and the engine."""
    target = out / "inside"
    shutil.rmtree(target, ignore_errors=True)
    engines = out / "nights" / bundle.name / "cache" / "engines"
    if engines.exists():
        shutil.copytree(engines, target / ".scanshift" / "cache" / "engines")
    return run_child(INSIDE, folder, bundle, target)


def inferencer(folder, bundle, out, environment):
    """Anomalib's OpenVINO inferencer with the same network: seconds, and its table."""
    script, network = ROOT / "benchmarks" / "inferencer_peer.py", out / f"{bundle.name}.xml"
    run([sys.executable, script, "export", bundle, network], env=HERE)
    python = make_environment(environment)
    seconds, _ = run([python, script, "score", network, folder, out / "inferencer.csv"])
    return seconds, out / "inferencer.csv"


def threshold_of(bundle):
    """Where the bundle's policy says anomaly."""
    return read_record(open_bundle(bundle)).anomaly_threshold


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--environment", type=Path, help="anomalib's, if not out/anomalib-env; made if it is not there")
    parser.add_argument("--without-inferencer", action="store_true", help="leave anomalib out")
    options = parser.parse_args()
    if not SHARED.exists():
        sys.exit("../shared is not there: nothing to measure with")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SCANSHIFT_WEIGHTS", str(SHARED / "weights"))
    folder, labels = radiographs(out, options.series)
    for network in options.networks:
        row = measured(network, bundle_of(network, labels, out), folder, options)
        with (out / "score.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(line(row), flush=True)


def measured(network, bundle, folder, options):
    """Everything about a network."""
    out = options.out.resolve()
    script = [sys.executable, ROOT / "benchmarks" / "obvious_script.py", folder, bundle]
    cold, _ = ours(folder, bundle, out, fresh=True)
    pairs = []
    for _ in range(options.pairs):
        mine, table = ours(folder, bundle, out)
        theirs, _ = run([*script, out / "theirs.csv"], env=HERE)
        pairs.append((mine, theirs))
    threshold = threshold_of(bundle)
    row = {"network": network, "series": options.series, "cold": cold, "pairs": pairs}
    row |= differing(table, out / "theirs.csv", threshold) | {"inside": inside(folder, bundle, out)}
    row["monai"], _ = run([*script, out / "monai.csv", "--loader", "monai"], env=HERE)
    if not options.without_inferencer:
        environment = options.environment or out / "anomalib-env"
        row["inferencer"], theirs = inferencer(folder, bundle, out, environment)
        row["inferencer differing"] = differing(out / "theirs.csv", theirs, threshold)
    return row


def line(row):
    """A row of the table."""
    n = row["series"]
    ratios = [theirs / mine for mine, theirs in row["pairs"]]
    mine, theirs = (median(pair[side] for pair in row["pairs"]) for side in (0, 1))
    within = row["inside"]
    peer = f"{n / row['inferencer']:.1f}" if "inferencer" in row else "–"
    return (
        f"| {row['network']} | {within['engine']} | {n / mine:.1f} ({n / row['cold']:.1f} the first time) "
        f"| {n / theirs:.1f} | {n / row['monai']:.1f} | {peer} "
        f"| {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
        f"| {row['decided otherwise']} + {row['scored by one alone']}, {row['largest difference']:.4f} "
        f"| {100 * within['forward'] / within['scoring']:.0f} % / {100 * within['forward'] / mine:.0f} % |"
    )


if __name__ == "__main__":
    main()
