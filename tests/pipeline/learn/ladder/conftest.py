"""Two made-up hospitals whose scans lie ready in a store, as a ladder's problem."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from pipeline.config import Config
from pipeline.learn.align import align_statistics
from pipeline.learn.ladder.problem import Problem, Side
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import LEVELS, Preparation
from pipeline.watch import Watch

SIDE = 64
BACKBONE = "shufflenet_v2_x0_5@all"
CPU = torch.device("cpu")


def scan(label, rng, *, strength=0.25):
    """A dim organ of which every patient has another, noise, and in the ill a bright square; grey values 0..1."""
    image = 0.25 + 0.08 * ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 5) * 15
    image += rng.normal(0, 0.03, image.shape)
    row, column = rng.integers(8, SIDE - 28, 2)
    image[row : row + 20, column : column + 20] += strength * label
    return image


def same(image, _rng):
    """The scanner of the first hospital."""
    return image


def pale(image, rng):
    """A scanner with less contrast, more brightness and more noise."""
    return 0.6 * image + 0.3 + rng.normal(0, 0.04, image.shape)


def stripes(image, rng):
    """Nothing of the first hospital's anatomy: stripes of chance width and direction."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    angle, waves = rng.uniform(0, np.pi), rng.uniform(2, 25)
    shown = 0.5 + rng.uniform(0.1, 0.5) * np.sin(waves * 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)))
    return shown * rng.uniform(0.4, 1) + 0.02 * image


@dataclass(frozen=True)
class Hospital:
    """Where scans come from."""

    name: str
    scanner: object = same
    strength: float = 0.25


def take(store, hospital, count, *, seed, flipped=False, share=0.5, scans=2):
    """Store scans of patients who have `scans` each, and say what and whose they are."""
    rng = np.random.default_rng(seed)
    contents, labels, patients = [], [], []
    for n in range(count):
        label = int((n // scans) % 10 < round(10 * share))
        image = hospital.scanner(scan(label, rng, strength=hospital.strength), rng).clip(0, 1)
        content = f"{hospital.name} {seed} {n}"
        path = store.path(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.rint(image * LEVELS).astype(np.uint16)[None, None])
        contents.append(content)
        labels.append(1 - label if flipped else label)
        patients.append(f"{hospital.name} patient {seed} {n // scans}")
    return Side(tuple(contents), torch.eye(2)[labels], tuple(patients))


def make_problem(
    folder, source, target, *, fit=80, held=40, there=60, labelled=0, flipped=False, share=0.5, watch=None, **fields
):
    """A problem of two hospitals, with `labelled` of the target's scans labelled; no source where that is None."""
    store = SampleStore(
        folder / "cache",
        Preparation(kind="radiograph", modality="CR/DX", image_size=SIDE, slices=1, intensity="auto"),
    )
    asked = {"epochs": 1, "batch_size": 16, "precision": "float32", "learning_rate": 1e-4, "strategy": "auto"}
    draw = 10 * fields.get("seed", 0)  # another seed, other patients
    ours = [take(store, source, n, seed=draw + k, flipped=flipped) for n, k in ((fit, 1), (held, 2))] if source else []
    theirs = take(store, target, there, seed=draw + 3, share=share)
    classifier = SliceBagClassifier(build_backbone(BACKBONE, seed=0), 2, pooling="mean", seed=0)
    known = ours[0] if ours else theirs
    align_statistics("adabn", classifier, store, known.contents, device=CPU, seed=0)
    return Problem(
        classifier=classifier.eval(),
        store=store,
        source=ours[0] if ours else None,
        held=ours[1] if ours else None,
        target=theirs.take(range(labelled)) if labelled else None,
        unlabelled=theirs.contents,
        patients=theirs.patients,
        config=Config(**(asked | fields)),
        device=CPU,
        watch=watch or Watch(),
    )


def with_config(problem, **fields):
    """The problem under another configuration."""
    return replace(problem, config=problem.config.model_copy(update=fields))


@pytest.fixture
def problem_of(tmp_path):
    """Builds problems; those of one test share a folder."""
    return lambda *hospitals, **fields: make_problem(tmp_path, *hospitals, **fields)
