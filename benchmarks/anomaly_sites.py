"""The scans of benchmarks/anomaly.py: prepared samples of a site with their labels, and draws of them by patient."""

import csv
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import torch

from models.backbones import build_backbone
from models.detectors.pooled import PooledDetector
from models.weights import find_weights, load_weights
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.network import weights_folder
from pipeline.prepare.cohort import Case
from pipeline.scan import SeriesRef

NORMAL = "normal"


@dataclass(frozen=True)
class Site:
    """Prepared scans of a site, of one slice each: content, label, subtype, patient and official split."""

    contents: np.ndarray
    labels: np.ndarray
    subtypes: np.ndarray
    patients: np.ndarray
    splits: np.ndarray

    def cases(self, rows):
        """Rows as normal training scans."""
        found = [(self.contents[n], self.patients[n]) for n in rows]
        refs = [SeriesRef(source=key, series_uid=key, status="ok", modality="CR", content=key) for key, _ in found]
        return [Case(ref, (NORMAL,), who, True, "train", ()) for ref, (_, who) in zip(refs, found, strict=True)]

    def rows(self, split, label=None):
        """Rows of an official split, of one label if it is given."""
        return np.flatnonzero((self.splits == split) & ((self.labels == label) | (label is None)))


def read_site(tool, site, out, store):
    """Write a site's DICOM folder with make_hospital.py (once), ingest and prepare it."""
    folder = out / site
    if not (folder / "labels.csv").exists():
        subprocess.run([sys.executable, str(tool), "cxr", str(folder), "--site", site], check=True)
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    refs = {ref.files[0]: ref for ref in scan_sources([folder]) if ref.status == "ok"}
    kept = [(row, refs[str(folder / row["path"])]) for row in rows if str(folder / row["path"]) in refs]
    refused = store.fill([ref for _, ref in kept])
    kept = {ref.key: row for row, ref in reversed(kept) if ref.key not in refused}  # byte-identical files once
    columns = ("label", "subtype", "patient", "split")
    return Site(np.array(list(kept)), *(np.array([row[name] for row in kept.values()]) for name in columns))


def some_patients(patients, share, seed):
    """Which scans are of a random share of the patients, shape (n,), bool."""
    order = np.unique(patients)
    np.random.default_rng(seed).shuffle(order)
    return np.isin(patients, order[: round(share * len(order))])


def network(name):
    """A backbone with its ImageNet weights."""
    backbone = build_backbone(name)
    load_weights(backbone, find_weights(name, "imagenet", folder=weights_folder()))
    return backbone.eval()


def remember():
    """Keep the pooled maps of every image that a detector of pooled features sees, so that it is cheap to refit.

    A map (C, h, w) is replaced by its mean (C, 1, 1), which pools to the same.
    """
    kept, plain = {}, PooledDetector.stage_maps

    def stage_maps(detector, images):
        settings = (detector.backbone.name, detector.stages, detector.reduced)
        keys = [(*settings, hash(image.numpy().tobytes())) for image in images]
        new = [n for n, key in enumerate(keys) if key not in kept]
        if new:
            pooled = [maps.mean(dim=(2, 3), keepdim=True) for maps in plain(detector, images[new])]
            for n, *maps in zip(new, *pooled, strict=True):
                kept[keys[n]] = maps
        return [torch.stack(maps) for maps in zip(*(kept[key] for key in keys), strict=True)]

    PooledDetector.stage_maps = stage_maps
