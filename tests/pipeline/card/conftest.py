"""Real bundles of every task and kind, small, with names of classes and sites that try to be more than names."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from models.bundle import open_bundle
from pipeline.config import Config
from pipeline.learn.adapt import adapt
from pipeline.learn.plan import make_plan
from pipeline.watch import Watch
from pipeline.workspace import Workspace

EVIL_CLASS = "<img src=x onerror=alert(1)>![a](http://e.example/p)"
EVALUATED = "$__import__('os').abort()"
SITES = ("north`[x](javascript:1)", "{{ 7*7 }}<b>")
STATED = {
    "reference_standard": "two readers | <script>alert(2)</script>",
    "authors": "@bundle",
    "references": "Doe 2020\n%/etc/hostname",
}
QUICK = {
    "backbone": "squeezenet1_1",
    "weights": "none",
    "strategy": "linear_probe",
    "image_size": 32,
    "epochs": 1,
    "precision": "float32",
    "device": "cpu",
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread):
    """Small networks: two threads would wait for each other longer than they work."""


def picture(rng, mark):
    """Noise with a bright square at a place that depends on the class."""
    pixels = rng.integers(0, 90, (40, 40)).astype(np.uint8)
    if mark:
        pixels[8 : 8 + 8 * mark, 20:34] += 120
    return pixels


def save(path, pixels, volume):
    if not volume:
        Image.fromarray(pixels).save(path)
        return
    stack = np.stack([pixels] * 3, axis=2).astype(np.int16)
    nib.nifti1.Nifti1Image(stack, np.diag([1, 1, 3, 1])).to_filename(path)


def adapted(folder, labels, *, volume=False, count=60, **config):
    """Adapt to made-up scans; `labels` are dealt out in turn."""
    rng = np.random.default_rng(0)
    scans = folder / "scans"
    scans.mkdir(parents=True)
    lines = ["path;label;patient;site;split"]
    for n in range(count):
        name = f"{n}.{'nii' if volume else 'png'}"
        save(scans / name, picture(rng, n % len(labels)), volume)
        split = ("train", "train", "val", "val", "test")[n // len(labels) % 5]
        lines.append(f'{name};"{labels[n % len(labels)]}";MILLER{n};"{SITES[n % 7 % 2]}";{split}')
    (scans / "labels.csv").write_text("\n".join(lines) + "\n")
    workspace = Workspace(folder / "ws").open()
    plan = make_plan(scans / "labels.csv", workspace, Config(**QUICK, **config), Watch())
    return adapt(plan, workspace, folder / "bundle", workspace.run_folder("adapt"), Watch())


KINDS = {
    "multiclass": (("normal", EVIL_CLASS, EVALUATED), {"classes": ("normal", EVIL_CLASS, EVALUATED), "card": STATED}),
    "volume": (("normal", "mass", "cyst"), {"volume": True, "slices": 3, "classes": ("normal", "mass", "cyst")}),
    "multilabel": (
        ("normal", "left", "left|right", "right"),
        {"task": "multilabel", "classes": ("normal", "left", "right")},
    ),
    "one_class": (
        ("normal", "normal", "normal", EVIL_CLASS),
        {"task": "one_class", "detector": "knn", "policy": "false_alarm=0.1", "count": 80},
    ),
}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Makes the bundle of a kind once and returns it opened."""
    there = {}

    def make(kind):
        if kind not in there:
            labels, settings = KINDS[kind]
            there[kind] = adapted(tmp_path_factory.mktemp(kind), labels, **settings)
        return open_bundle(there[kind].bundle)

    return make
