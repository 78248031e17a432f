"""`strategy: auto` with other tasks, one hospital alone and volumes."""

import nibabel
import numpy as np
import pytest

from models.bundle import open_bundle
from pipeline.model_record import read_record
from tests.pipeline.learn.ladder.conftest import Hospital, pale
from tests.pipeline.learn.ladder.hospitals import SIDE, run, write_hospitals

LITTLE = {"train": 36, "val": 18, "there": 36, "tests": 0}


def test_three_classes(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south", pale), labelled=36, classes=3, **LITTLE)
    made = run(labels, tmp_path)
    record = read_record(open_bundle(made.bundle))
    assert record.classes == ("normal", "effusion", "opacity")
    assert made.record["validation"]["n"] == 36
    assert 0.5 < made.result.val_auroc <= 1


def test_several_labels_a_scan(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south", pale), labelled=36, classes=3, **LITTLE)
    lines = labels.read_text().splitlines()
    both = [line.replace(",effusion,", ",effusion|opacity,") if n % 4 == 0 else line for n, line in enumerate(lines)]
    labels.write_text("\n".join(both) + "\n")
    made = run(labels, tmp_path, task="multilabel", align="dan")
    assert "alignment (dan)" in made.rungs
    kept = made.rungs[made.record["ladder"]["kept"]]
    assert made.result.val_auroc == pytest.approx(kept["value"], abs=1e-6)
    record = read_record(open_bundle(made.bundle))
    assert record.task == "multilabel"


def test_one_hospital_alone(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south"), train=30, val=14, there=0, tests=0)
    made = run(labels, tmp_path, target_sites=())
    assert [name for name, row in made.rungs.items() if row["value"] is not None] == ["target probe"]
    assert made.record["ladder"]["shift"] is None
    assert made.record["validation"]["n"] == 44


def write_volumes(folder, count=20):
    """Volumes with a bright cube in the ill, of two sites; a NIfTI each."""
    folder.mkdir()
    rng, lines = np.random.default_rng(0), ["path,label,patient,site,split"]
    for site, split, many in (("north", "train", 24), ("north", "val", 12), ("south", "train", count)):
        for n in range(many):
            label = n // 2 % 2
            voxels = rng.normal(100, 8, (SIDE, SIDE, 6))
            voxels[20:40, 20:40, 2:5] += 40 * label
            name = f"{site}-{split}-{n}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), np.diag([1, 1, 3, 1])), folder / name)
            known = site == "north" or n < 20
            lines.append(f"{name},{('normal', 'lesion')[label] if known else ''},MILLER{site}{split}{n},{site},{split}")
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_volumes(tmp_path):
    made = run(write_volumes(tmp_path / "in"), tmp_path, slices=4)
    record = read_record(open_bundle(made.bundle))
    assert record.pooling == "mean"
    assert record.preparation.slices == 4
    assert made.record["validation"]["n"] == 20
    assert "scanner matched" in made.rungs
    assert made.result.val_auroc > 0.9
