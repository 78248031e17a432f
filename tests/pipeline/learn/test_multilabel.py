"""Several findings in one scan, from labels.csv to scores.csv."""

import csv
import itertools

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Config
from pipeline.errors import LabelsError
from pipeline.evaluate.validate import validate
from pipeline.learn.adapt import adapt
from pipeline.learn.plan import make_plan
from pipeline.score.folder import score_folder
from pipeline.watch import Watch
from pipeline.workspace import Workspace

CONFIG = Config(
    classes=("normal", "left", "right"),
    task="multilabel",
    backbone="squeezenet1_1",
    weights="none",
    strategy="linear_probe",
    image_size=64,
    precision="float32",
)


def write_cohort(folder, *, both_and_normal=False):
    """Noise with a bright square on the left, on the right, on both sides, or on none."""
    rng = np.random.default_rng(0)
    lines = ["path;label;patient;split"]
    for n, (left, right) in enumerate(itertools.islice(itertools.cycle(itertools.product((0, 1), (0, 1))), 48)):
        pixels = rng.integers(0, 80, (64, 64), np.uint8)
        pixels[20:44, 6:26] += np.uint8(150 * left)
        pixels[20:44, 38:58] += np.uint8(150 * right)
        Image.fromarray(pixels).save(folder / f"{n}.png")
        found = [name for name, there in (("left", left), ("right", right)) if there]
        if both_and_normal and found:
            found.append("normal")
        split = ("train", "train", "val", "test")[n // 12]
        lines.append(f"{n}.png;{'|'.join(found) or 'normal'};p{n};{split}")
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_each_finding_has_its_own_probability(tmp_path):
    labels = write_cohort(tmp_path)
    workspace = Workspace(tmp_path / "ws").open()
    plan = make_plan(labels, workspace, CONFIG, Watch())
    bundle = adapt(plan, workspace, tmp_path / "bundle", workspace.run_folder("adapt"), Watch()).bundle
    metrics = validate(bundle, labels, workspace, tmp_path / "out", Watch()).metrics
    assert set(metrics["classes"]) == {"normal", "left", "right"}
    assert metrics["classes"]["left"]["support"] == 6
    assert metrics["classes"]["left"]["auroc"]["value"] > 0.8
    assert metrics["classes"]["right"]["auroc"]["value"] > 0.8

    score_folder(tmp_path, bundle, tmp_path / "scores")
    with (tmp_path / "scores" / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "scored"]
    assert len(rows) == 48
    sums = [sum(float(row[f"p_{name}"]) for name in CONFIG.classes) for row in rows]
    assert max(sums) > 1.05  # findings do not exclude each other
    for row in rows:
        assert float(row["anomaly_score"]) == pytest.approx(1 - float(row["p_normal"]), abs=1.01e-4)


def test_normal_beside_a_finding_is_an_error(tmp_path):
    labels = write_cohort(tmp_path, both_and_normal=True)
    workspace = Workspace(tmp_path / "ws").open()
    with pytest.raises(LabelsError, match="normal"):
        make_plan(labels, workspace, CONFIG, Watch())
