"""Ours beside anomalib in benchmarks/anomaly.py: its environment, the jobs, and what both took."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
from anomaly_tables import measured

from models.weights import find_weights
from pipeline.learn.network import weights_folder

PACKAGE = "anomalib==2.7.0"
PATCHES = 28 * 28  # of an image: cells of stride 8 at 224 px
THREADS = 2
HERE = Path(__file__).resolve().parent


def make_environment(folder):
    """A virtual environment with anomalib, made once; it sees this one's packages, so torch is the same build.

    Returns:
        Its Python.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        place = subprocess.run(
            [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        (Path(place) / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    ready = subprocess.run([str(python), "-c", "import anomalib"], check=False, capture_output=True).returncode == 0
    if not ready:
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-cache-dir", PACKAGE], check=True)
    return python


def compare(bench, name, ratio, python):
    """Both sides on the same images: AUROC, seconds and memory; ours in float32, and as it runs by default.

    Args:
        ratio: The core-set as a share of all patches; ours keeps the same number. 0 for its default number.
        python: The peer's Python; None to run ours alone.
    """
    folder = bench.out / "peers"
    folder.mkdir(exist_ok=True)
    for part, rows in (("train", bench.normals), ("test", bench.test)):
        images = [bench.store.load(content)[0, 0] for content in bench.site.contents[rows]]
        np.save(folder / f"{part}.npy", np.stack(images))
    bank = int(len(bench.normals) * PATCHES * ratio) if ratio else 0
    weights = find_weights("resnet18@layer3", "imagenet", folder=weights_folder())
    job = {
        "train": str(folder / "train.npy"), "test": str(folder / "test.npy"), "out": str(folder / "answer.json"),
        "detector": name, "weights": str(weights.path), "bank": bank, "share": ratio, "size": 224,
        "threads": THREADS, "seed": 0,
    }  # fmt: skip
    found = {"bank": bank, "scans": len(bench.normals)}
    sides = {"anomalib": (python, "anomaly_peer.py")} if python else {}
    sides["ours"] = (sys.executable, "anomaly_ours.py")
    for side, (interpreter, script) in sides.items():
        for reduced in (False, True) if side == "ours" else (False,):
            answer = _run(interpreter, script, job | {"reduced": reduced}, folder)
            scores = np.array(answer.pop("scores"))
            label = side + (", bfloat16" if reduced else "")
            found[label] = measured(scores, bench.site, bench.test) | answer
    return found


def _run(interpreter, script, job, folder):
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "PYTHONPATH": "", "TQDM_DISABLE": "1"}
    if script == "anomaly_ours.py":
        environment["PYTHONPATH"] = str(HERE.parent)
    subprocess.run([str(interpreter), str(HERE / script), str(path)], check=True, env=environment)
    return json.loads(Path(job["out"]).read_text(encoding="utf-8"))
