"""One detector fitted and timed in a process of its own, ours or a peer's: what both sides share.

A job is a JSON file: `train` and `test` (.npy files of uint16 images, (n, S, S)), `detector`, `weights`, `bank`
(patches of a core-set), `share` (the same as a share of all patches), `threads`, `seed`, `reduced`, `out`. The answer
is a JSON file at `out`.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch

BATCH = 32
LEVELS = 65535


def peak_mib():
    """Most memory that this process ever held, in MiB; `ru_maxrss` would count that of the process that started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM")


class Images:
    """Images of a file in batches of float32 in [0, 1], (m, 1, S, S); never more than one batch is in memory."""

    def __init__(self, path):
        self.path, self.shape = path, np.load(path, mmap_mode="r").shape

    def __iter__(self):
        for start in range(0, self.shape[0], BATCH):
            file = np.load(self.path, mmap_mode="r")  # opened anew: pages read before are let go and not counted
            yield torch.from_numpy(file[start : start + BATCH].astype(np.float32)).div_(LEVELS)[:, None]


def run_job(path, make):
    """Fit and score, each timed, and write the answer.

    Args:
        path: The job.
        make: Job to (fit, score): `fit(images)` once, then `score(batch)` to a score per image; maps are made too.
    """
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    fit, score = make(job)
    before, started = peak_mib(), time.perf_counter()
    fit(Images(job["train"]))
    fitted = time.perf_counter()
    with torch.inference_mode():
        scores = torch.cat([score(batch).float().cpu() for batch in Images(job["test"])])
    done = time.perf_counter()
    answer = {
        "scores": [float(value) for value in scores],
        "fit_s": round(fitted - started, 2),
        "score_s": round(done - fitted, 2),
        "start_mib": round(before),
        "peak_mib": round(peak_mib()),
        "torch": torch.__version__,
    }
    Path(job["out"]).write_text(json.dumps(answer), encoding="utf-8")
