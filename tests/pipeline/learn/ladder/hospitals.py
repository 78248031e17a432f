"""A labels.csv of two made-up hospitals with pictures beside it, and adaptations of it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config import Config
from pipeline.learn.adapt import adapt
from pipeline.learn.plan import make_plan
from pipeline.watch import Watch
from pipeline.workspace import Workspace
from tests.pipeline.learn.ladder.conftest import SIDE, Hospital, scan

SCANS = 2  # of a patient
NAMES = ("normal", "opacity", "effusion")
CONFIG = Config(
    backbone="shufflenet_v2_x0_5",
    weights="none",
    strategy="auto",
    image_size=SIDE,
    epochs=1,
    batch_size=16,
    precision="float32",
    target_sites=("south",),
)


def picture(name, hospital, label, rng):
    """A PNG of one scan; the third class has a dark square instead of a bright one."""
    strength = hospital.strength * (1, 1, -0.6)[label]
    image = hospital.scanner(scan(min(label, 1), rng, strength=strength), rng)
    Image.fromarray((255 * image.clip(0, 1)).astype(np.uint8)).save(name)


def write_hospitals(
    folder, south, *, north=None, train=60, val=30, there=40, labelled=0, tests=4, classes=2, share=0.5
):
    """Write pictures and labels.csv: north is labelled train and val, south train with `labelled` labels.

    Both have `tests` labelled test rows. Patients are called MILLER and a number; sites are north and south.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng, lines = np.random.default_rng(0), ["path,label,patient,site,split"]
    sides = [("north", "train", train), ("north", "val", val), ("north", "test", tests)]
    sides += [("south", "train", there), ("south", "test", tests)]
    for site, split, count in sides:
        hospital = south if site == "south" else north or Hospital("north")
        for n in range(count):
            kind = n // SCANS
            if classes == 2 and share != 0.5 and site == "south":
                label = int(kind % 10 < round(10 * share))
            else:
                label = kind % classes
            name = f"{site}-{split}-{n}.png"
            picture(folder / name, hospital, label, rng)
            known = site == "north" or split == "test" or n < labelled
            patient = f"MILLER^{site}{split}{n // SCANS}"
            lines.append(f"{name},{NAMES[label] if known else ''},{patient},{site},{split}")
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass
class Run:
    """What an adaptation left."""

    plan: object
    result: object
    notes: list
    bundle: Path
    folder: Path

    @property
    def record(self):
        return json.loads((self.folder / "result.json").read_text())

    @property
    def rungs(self):
        return {row["name"]: row for row in self.record["ladder"]["rungs"]}


def run(labels, space, *, config=CONFIG, name="bundle", **fields):
    """Adapt; the error is kept in `result` where a model is refused."""
    workspace = Workspace(space / "ws").open()
    notes, folder = [], workspace.run_folder("adapt")
    watch = Watch(note=notes.append)
    plan = make_plan(labels, workspace, config.model_copy(update=fields), watch)
    result = adapt(plan, workspace, space / name, folder, watch)
    return Run(plan, result, notes, space / name, folder)
