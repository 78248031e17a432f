"""Small made-up data sets whose samples lie ready in a store, and a fit of them."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from pipeline.config import Config
from pipeline.learn.checkpoint import Checkpoint
from pipeline.learn.fit import Fit, LabelledSet
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import LEVELS, Preparation
from pipeline.watch import Watch

SIDE = 64
BACKBONE = "shufflenet_v2_x0_5"


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread):
    """Small networks: two threads would wait for each other longer than they work."""


def make_store(folder, *, slices=1):
    """An empty store of radiographs (bags of one) or volumes."""
    kind = ("radiograph", "CR/DX") if slices == 1 else ("volume", "CT")
    preparation = Preparation(kind=kind[0], modality=kind[1], image_size=SIDE, slices=slices, intensity="auto")
    return SampleStore(folder, preparation)


def make_side(store, name, labels, classes, *, seed=0):
    """Noise with a bright square that grows with the class, saved as prepared samples; bags differ in length."""
    rng = np.random.default_rng(seed)
    longest = store.preparation.slices
    contents = []
    for n, label in enumerate(labels):
        count = longest - n % 2 if longest > 1 else 1
        slices = rng.integers(0, LEVELS // 3, (count, 1, SIDE, SIDE)).astype(np.uint16)
        edge = 8 * label
        slices[0, 0, 10 : 10 + edge, 10 : 10 + edge] = LEVELS
        path = store.path(f"{name} {n}")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, slices)
        contents.append(f"{name} {n}")
    return LabelledSet(store, tuple(contents), torch.eye(classes)[list(labels)])


@dataclass
class Bench:
    """A classifier, its data and its checkpoint."""

    classifier: SliceBagClassifier
    train: LabelledSet
    val: LabelledSet
    config: Config
    checkpoint: Checkpoint

    def fit(self, watch=None):
        return Fit(
            self.classifier,
            train=self.train,
            val=self.val,
            config=self.config,
            device=torch.device("cpu"),
            checkpoint=self.checkpoint,
            watch=watch or Watch(),
        )

    def state(self):
        return {key: value.clone() for key, value in self.classifier.state_dict().items()}


@pytest.fixture
def bench(tmp_path):
    """Builds a bench; benches of one name share their data and their checkpoint."""

    def build(name="a", *, classes=2, slices=1, train=12, val=6, backbone=BACKBONE, seed=0, **config):
        store = make_store(tmp_path / "cache", slices=slices)
        pooling = "mean" if slices == 1 else "attention"
        fields = {"epochs": 2, "batch_size": 4, "precision": "float32", "seed": seed, "learning_rate": 1e-3}
        return Bench(
            SliceBagClassifier(build_backbone(backbone, seed=seed), classes, pooling=pooling, seed=seed),
            make_side(store, "train", [n % classes for n in range(train)], classes, seed=1),
            make_side(store, "val", [n % classes for n in range(val)], classes, seed=2),
            Config(**(fields | config)),
            Checkpoint(tmp_path / "training" / f"{name}.pt"),
        )

    return build
