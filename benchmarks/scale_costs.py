"""What a series costs beside the network: bytes in every file that grows, seconds and memory to read them, preparation.

    python benchmarks/scale_costs.py OUT [--series 8000]

One process, one thread; processor seconds. Prints one line for each figure that docs/scale.md reckons with.
"""

import argparse
import contextlib
import functools
import os
import shutil
import sys
import time
import tracemalloc
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.ct_series import write_series
from benchmarks.tiny_site import make_bundle, make_scans, radiograph
from models.backbones import build_backbone
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.scan_folder import scan_sources
from pipeline.score import folder
from pipeline.score.ledger import Ledger
from pipeline.score.plan import LEDGER
from pipeline.score.ref_file import read_refs, write_refs
from pipeline.score.scorer import load_scorer, pending, ready_scan
from pipeline.watch import Watch

ROUNDS = 3
CPU = torch.device("cpu")


def best(function):
    """Processor seconds of the fastest of three calls."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        function()
        found.append(time.process_time() - began)
    return min(found)


def held(make):
    """Bytes of Python objects that a result holds."""
    tracemalloc.start()
    result = make()
    found, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found, result


def files_and_reading(out, count):
    """Bytes a series in each file, and what reading them costs."""
    scans, bundle, scores = make_scans(out / "scans", count), make_bundle(out / "bundle"), out / "scores"
    shutil.rmtree(scores, ignore_errors=True)
    state = folder.state_folder(scores, None).open()

    def plan():
        return folder.plan_scores(scans, bundle, state, device="cpu", watch=Watch())

    began = time.process_time()
    planned = plan()
    yield "listing, first time, ms", (time.process_time() - began) / count * 1000
    run = state.run_folder("score")
    shards = folder.write_plan(planned, run)
    del planned
    for shard in shards:
        folder.score_shard(shard, bundle, state, device="cpu", engine="eager", watch=Watch())

    def finish():
        return folder.finish(run, state, bundle, scores, device="cpu", heatmaps=False, watch=Watch())

    finish()
    bytes_of = {
        "ledger line": state.root / LEDGER,
        "scores.csv row": scores / "scores.csv",
        "plan.json line": run / "plan.json",
        "catalogue (SQLite)": state.root / "catalog.db",
    }
    for name, path in bytes_of.items():
        yield f"{name}, bytes", path.stat().st_size / count
    yield "shard files, bytes", sum(path.stat().st_size for path in shards) / count
    yield "listing again, nothing changed, ms", best(plan) / count * 1000
    scorer = load_scorer(bundle, CPU)
    ledger = Ledger(state.root / LEDGER)
    yield "reading the ledger, ms", best(lambda: ledger.results(scorer.run_key)) / count * 1000
    yield (
        "what is pending, of all, ms",
        best(lambda: pending(read_refs(run / "plan.json"), ledger, scorer.run_key)) / (count / 1000),
    )
    yield "writing scores.csv with all it reads, ms", best(finish) / count * 1000
    yield "references in memory, bytes", held(lambda: list(read_refs(run / "plan.json")))[0] / count
    more, results = held(lambda: ledger.results(scorer.run_key))
    yield "results in memory, bytes", more / len(results)


def preparation(out):
    """One large radiograph and one CT from file to sample, and forward passes of 224 by 224, eager float32."""
    scorer = load_scorer(make_bundle(out / "bundle"), CPU)
    (out / "one").mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 4096, (2500, 2000)).astype("<u2")
    radiograph(1, 1, pixels).save_as(out / "one" / "1.dcm", enforce_file_format=True)
    yield "radiograph of 2500 x 2000, bytes", (out / "one" / "1.dcm").stat().st_size
    yield "radiograph, listed with its hash, ms", best(lambda: scan_sources([out / "one"])) * 1000
    (ref,) = scan_sources([out / "one"])
    yield "radiograph, read and prepared, ms", best(lambda: ready_scan(ref, scorer.record)) * 1000
    if not (out / "ct").exists():
        write_series(out / "ct", 300)
    yield "CT of 300 x 512 x 512, bytes", sum(path.stat().st_size for path in (out / "ct").iterdir())
    yield "CT, listed with its hash, ms", best(lambda: scan_sources([out / "ct"])) * 1000
    (ref,) = scan_sources([out / "ct"])
    write_refs(out / "plan.json", [ref])
    yield "CT, plan.json line, bytes", (out / "plan.json").stat().st_size
    database = out / "ct.db"
    database.unlink(missing_ok=True)
    with contextlib.closing(Catalog(f"sqlite:///{database}")) as catalog:
        scan_sources([out / "one"], catalog=catalog)
        empty = database.stat().st_size
        scan_sources([out / "ct"], catalog=catalog)
    yield "CT, catalogue (SQLite), bytes", database.stat().st_size - empty
    kind = {"kind": "volume", "modality": ref.modality, "slices": 24, "image_size": 224}
    record = scorer.record.model_copy(update={"preparation": scorer.record.preparation.model_copy(update=kind)})
    ready = ready_scan(ref, record)
    if not hasattr(ready, "slices"):
        sys.exit(f"the CT was not prepared: {ready.reason}")
    yield "CT, read and prepared to 24 slices of 224, ms", best(lambda: ready_scan(ref, record)) * 1000
    images = torch.rand(16, 3, 224, 224)
    torch.set_num_threads(1)
    for name in ("resnet18", "mobilenet_v2", "densenet169"):
        network = build_backbone(name, seed=1).eval()
        forward = functools.partial(network, images)
        with torch.inference_mode():
            forward()
            yield f"{name}, forward pass of a slice, ms", best(forward) / 16 * 1000


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--series", type=int, default=8000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for part in (files_and_reading(options.out, options.series), preparation(options.out)):
        for name, value in part:
            print(f"{name:48s} {value:14,.3f}   load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
