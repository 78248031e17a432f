"""`strategy: auto` with harmonised scans and with other backbones."""

import contextlib
import json

import numpy as np
import pytest
import torch

from models.bundle import open_bundle
from pipeline.errors import RefusedError
from pipeline.learn.ladder import climb, rungs
from pipeline.model_record import load_classifier, read_record
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import to_tensor
from tests.pipeline.learn.ladder.conftest import Hospital, pale
from tests.pipeline.learn.ladder.hospitals import CONFIG, run, write_hospitals
from tests.pipeline.learn.weights_folder import WeightsFolder

LITTLE = {"train": 36, "val": 18, "there": 36, "tests": 0}


def logits_of(made, cases, folder):
    """Of the bundle's network, on scans prepared as it says."""
    bundle = open_bundle(made.bundle)
    record = read_record(bundle)
    classifier = load_classifier(bundle, record)
    store = SampleStore(folder / "fresh", record.preparation)
    assert not store.fill([case.ref for case in cases])
    rows = []
    with torch.inference_mode():
        for case in cases:
            slices = to_tensor(store.load(case.ref.key))
            rows.append(classifier(slices[None], torch.ones(1, len(slices), dtype=torch.bool)))
    return torch.cat(rows), record


def test_scans_that_are_harmonised_as_asked_are_not_harmonised_twice(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south", pale), labelled=36, **LITTLE)
    made = run(labels, tmp_path, harmonise="histogram", time_budget=1e-9)
    decision = made.rungs["harmonise"]["decision"]
    assert decision == "not tried: harmonise=histogram was asked for, so that every rung has it"
    assert read_record(open_bundle(made.bundle)).preparation.harmonise.kind == "histogram"
    assert made.plan.preparation.harmonise is None


def test_a_harmonised_rung_that_is_kept_reaches_the_bundle_and_its_scoring(tmp_path, monkeypatch):
    """Only this rung beside the first, and any gain counts."""
    every = rungs.rungs

    def two(*args, **kwargs):
        return [rung for rung in every(*args, **kwargs) if rung.name in ("target probe", "harmonise")]

    monkeypatch.setattr(climb, "rungs", two)
    monkeypatch.setattr("pipeline.learn.ladder.evidence.Evidence.beyond", lambda self, other: (0.1, 0.1))
    labels = write_hospitals(tmp_path / "in", Hospital("south", pale), labelled=36, **LITTLE)
    made = run(labels, tmp_path)
    assert made.record["ladder"]["kept"] == "harmonise"
    cases = [case for case in made.plan.cohort.cases if case.site == "south"]
    found, record = logits_of(made, cases, tmp_path)
    assert record.preparation.harmonise.kind == "nyul"
    kept = made.rungs["harmonise"]["value"]
    truth = np.array([case.labels == ("opacity",) for case in cases])
    score = (found[:, 1] - found[:, 0]).numpy()
    auroc = (score[truth][:, None] > score[~truth][None]).mean()
    assert auroc == pytest.approx(kept, abs=1e-3)  # a rung from the source's labels alone: nothing was held out


def test_the_better_of_two_backbones_is_adapted(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("pipeline.learn.backbone_choice.repeats_for", lambda _rows: 1)
    folder = WeightsFolder(tmp_path / "weights")
    folder.add("shufflenet_v2_x0_5")
    folder.add("squeezenet1_1")
    monkeypatch.setenv("SCANSHIFT_WEIGHTS", str(folder.folder))
    labels = write_hospitals(tmp_path / "in", Hospital("south", pale), labelled=36, **LITTLE)
    made = run(labels, tmp_path, backbone="auto", weights="imagenet", time_budget=0.2)
    record = read_record(open_bundle(made.bundle))
    assert record.backbone in ("shufflenet_v2_x0_5@all", "squeezenet1_1@all")
    assert {row["backbone"] for row in made.record["backbones"]["rows"]} == {
        "shufflenet_v2_x0_5@all",
        "squeezenet1_1@all",
    }
    assert record.config.time_budget == 0.2
    assert sum("on held-out scans" in note for note in made.notes) == 2


def test_a_backbone_without_batch_norm_has_no_adabn_rung(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south", pale), **LITTLE)
    with contextlib.suppress(RefusedError):
        run(labels, tmp_path, backbone="squeezenet1_1", time_budget=1e-9)
    (file,) = (tmp_path / "ws").rglob("result.json")
    names = [row["name"] for row in json.loads(file.read_text())["ladder"]["rungs"]]
    assert "AdaBN" not in names
    assert "scanner matched" in names
    assert "weights are random, as weights=none asks" in json.loads(file.read_text())["notes"]
    assert CONFIG.weights == "none"
