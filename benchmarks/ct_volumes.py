"""CT series from end to end: what a series of 300 slices costs, and whether memory stays flat.

    python benchmarks/ct_volumes.py out [--volumes 10 50] [--slices 300] [--engine auto]

Uncompressed DICOM of 512 by 512 pixels, 24 slabs of 224 pixels a volume, an untrained resnet18. Each count is scored in
a process of its own, with a fresh output; engines are kept from a run of most volumes before, which is not counted, so
that all counts have the same one. It prints the highest resident memory, seconds a series, and the share of the time in
which the network ran. 50 volumes take 8 GB of disk.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from child import run_child

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CHILD = """
import json, resource, sys, time
from pathlib import Path
from pipeline.score import folder
from pipeline.score.engines import runner
from pipeline.watch import Watch

source, bundle, out = map(Path, sys.argv[1:4])
spent = {"forward": 0.0}
batches = runner.in_batches

def timed(run):
    def call(slices):
        started = time.perf_counter()
        found = run(slices)
        spent["forward"] += time.perf_counter() - started
        return found
    return call

runner.in_batches = lambda samples, run, device, **more: batches(samples, timed(run), device, **more)
imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
started = time.perf_counter()
told = folder.score_folder(source, bundle, out, device="cpu", engine=sys.argv[4], watch=Watch())
spent |= {"wall": time.perf_counter() - started, "counts": told["counts"], "rss_mib imported": imported}
spent["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
spent["engine"] = json.loads((out / ".scanshift" / "ledger.jsonl").read_text().splitlines()[-1])["engine"]
print(json.dumps(spent))
"""


def write_volumes(folder, volumes, slices):
    """Write CT series, each in a folder of its own: a body of its own size in noise."""
    from ct_series import SIZE, header, save_slice

    draw = np.random.default_rng(1)
    noise = draw.normal(0, 20, (SIZE, SIZE))
    y, x = np.mgrid[0:SIZE, 0:SIZE] - SIZE / 2
    for n in range(volumes):
        place = folder / f"{n:03d}"
        if len(list(place.glob("*.dcm"))) == slices:
            continue
        place.mkdir(parents=True, exist_ok=True)
        wide, high = draw.uniform(120, 220, 2)
        body = np.where((x / wide) ** 2 + (y / high) ** 2 < 1, 1050, 24)
        for k in range(slices):
            spot = 150 * np.exp(-((x - k / 3) ** 2 + (y + n) ** 2) / 800)
            stored = np.clip(body + spot + np.roll(noise, (7 * k, 13 * n), (0, 1)), 0, 4095).astype("<u2")
            save_slice(header(k, series=n + 1), stored, "", place / f"{k * 7 % slices:05d}.dcm")


def measure(scans, bundle, out, engine, kept):
    """Score once, in a process of its own."""
    shutil.rmtree(out, ignore_errors=True)
    place = out / ".scanshift" / "cache" / "engines"
    if kept.exists():
        shutil.copytree(kept, place)
    found = run_child(CHILD, scans, bundle, out, engine)
    if place.exists() and not kept.exists():
        shutil.copytree(place, kept)
    return found


def main():
    from tiny_site import make_bundle

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--volumes", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args()
    out = options.out.resolve()
    preparation = {"kind": "volume", "modality": "CT", "image_size": 224, "slices": 24}
    bundle = make_bundle(out / "bundle", "resnet18", preparation)
    found, folders = [], {count: out / f"scans-{count}" for count in sorted(options.volumes)}
    for count, scans in folders.items():
        write_volumes(scans, count, options.slices)
    measure(folders[max(folders)], bundle, out / "scores", options.engine, out / "engines")
    for count, scans in folders.items():
        row = measure(scans, bundle, out / "scores", options.engine, out / "engines")
        found.append(row | {"volumes": count, "load": os.getloadavg()[0]})
        with (out / "ct_volumes.jsonl").open("a") as file:
            file.write(json.dumps(found[-1]) + "\n")
        print(
            f"{count} volumes: {row['engine']}, {row['wall'] / count:.2f} s a series, network "
            f"{100 * row['forward'] / row['wall']:.0f} %, {row['rss_mib']:.0f} MiB "
            f"(imports {row['rss_mib imported']:.0f}), memory {row['rss_mib'] / found[0]['rss_mib']:.3f} and cost "
            f"{row['wall'] / count / (found[0]['wall'] / found[0]['volumes']):.3f} of the first; {row['counts']}"
        )


if __name__ == "__main__":
    main()
