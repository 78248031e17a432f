"""Small made-up normals and anomalies whose samples lie ready in a store, and plans over them."""

import numpy as np
import pytest
import torch

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from pipeline.config import Config
from pipeline.learn.plan import Plan
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, Cohort
from pipeline.prepare.samples import LEVELS, Preparation
from pipeline.scan import SeriesRef

SIDE = 64


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread):
    """Small networks: two threads would wait for each other longer than they work."""


def texture(rng, *, ill, far):
    """Stripes with noise; ill ones have a bright disc, far ones (another scanner) are coarse checks."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = 0.3 + 0.1 * np.sin(rows / 3) + rng.normal(0, 0.02, (SIDE, SIDE))
    if far:
        image = 0.3 + 0.3 * ((rows // 8 + columns // 8) % 2) + rng.normal(0, 0.1, (SIDE, SIDE))
    if ill:
        row, column = rng.integers(20, 44, 2)
        image[(rows - row) ** 2 + (columns - column) ** 2 < 64] = 0.95
    return (image.clip(0, 1) * LEVELS).astype(np.uint16)


class Archive:
    """Adds scans to a store."""

    def __init__(self, folder, slices=1):
        kind = ("radiograph", "CR/DX") if slices == 1 else ("volume", "CT")
        self.store = SampleStore(
            folder,
            Preparation(kind=kind[0], modality=kind[1], image_size=SIDE, slices=slices, intensity="auto"),
        )
        self.rng = np.random.default_rng(0)
        self.slices = slices
        self.cases = []

    def add(self, count, label, split, *, site="", far=False, per_patient=1):
        """Add scans with a label (empty for none)."""
        labels = (label,) if label else ()
        for n in range(count):
            key = f"{site} {label} {split} {len(self.cases)}"
            ill = bool(label) and label != "normal"
            stack = np.stack([texture(self.rng, ill=ill and s == 0, far=far)[None] for s in range(self.slices)])
            path = self.store.path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, stack)
            patient = f"{site}{label}{split}{len(self.cases) - n % per_patient}"
            ref = SeriesRef(source=key, series_uid=key, status="ok", modality="CR", content=key)
            columns = (("site", site),) if site else ()
            self.cases.append(Case(ref, labels, patient, True, split, columns, len(self.cases) + 2))
        return self

    def plan(self, **config):
        """A plan over all scans with a tiny network of random weights."""
        names = sorted({label for case in self.cases for label in case.labels} - {"normal"})
        settings = {
            "task": "one_class",
            "detector": "mahalanobis",
            "image_size": SIDE,
            "precision": "float32",
            "weights": "none",
            **config,
        }
        backbone = build_backbone("resnet18@layer2", seed=0)
        return Plan(
            Config(backbone="resnet18@layer2", **settings),
            Cohort(("normal", *names), tuple(self.cases), (), ()),
            self.store.preparation,
            SliceBagClassifier(backbone, 2, pooling="mean"),
            (),
            {"origin": "random", "sha256": ""},
            torch.device("cpu"),
        )


@pytest.fixture
def archive(tmp_path):
    """An empty archive."""
    return Archive(tmp_path / "ws" / "cache")


@pytest.fixture
def volumes(tmp_path):
    """An empty archive of volumes of six slices."""
    return Archive(tmp_path / "ws" / "cache", slices=6)
