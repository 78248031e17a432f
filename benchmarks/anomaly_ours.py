"""ScanShift's detectors on given images, in a process of its own: python anomaly_ours.py JOB.json"""

import sys
from pathlib import Path

import torch
from anomaly_job import run_job

from models.backbones import build_backbone
from models.detectors import DETECTORS
from models.detectors.detector import SliceBatch
from models.weights import WeightsFile, load_weights


class Stream:
    """The images as the slices of normal scans."""

    def __init__(self, images, seed):
        self.images, self.seed = images, seed

    @property
    def slices(self):
        """Number of slices."""
        return self.images.shape[0]

    def __call__(self, epoch=None):
        """Batches in the order of the file, whose rows were shuffled when it was written."""
        at = 0
        for batch in self.images:
            yield SliceBatch(batch, torch.arange(at, at + len(batch)))
            at += len(batch)


def make(job):
    """Our detector on the same weights."""
    backbone = build_backbone("resnet18@layer3")
    load_weights(backbone, WeightsFile(Path(job["weights"]), "", "file"))
    options = {"bank": job["bank"], "candidates": 10**9} if job["detector"] == "patchcore" and job["bank"] else {}
    detector = DETECTORS[job["detector"]](
        backbone, image_size=job["size"], seed=job["seed"], reduced=job["reduced"], **options
    )

    def score(batch):
        return detector.score(batch, maps=True).score

    return lambda images: detector.fit(Stream(images, job["seed"])), score


if __name__ == "__main__":
    run_job(sys.argv[1], make)
