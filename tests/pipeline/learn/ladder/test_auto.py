"""`strategy: auto` from labels.csv to a bundle that tells what it is worth."""

import numpy as np
import pytest
import torch

from models.bundle import open_bundle
from models.classifier import SliceBagClassifier
from pipeline.ingest.read import read_scan
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import parse_training_set
from pipeline.model_record import load_classifier, read_record
from pipeline.prepare import cache
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import to_tensor
from tests.pipeline.learn.ladder.conftest import Hospital, pale
from tests.pipeline.learn.ladder.hospitals import run, write_hospitals


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A target of which 30 of 40 scans are labelled, and which scans were opened on the way."""
    folder = tmp_path_factory.mktemp("labelled")
    labels = write_hospitals(folder / "in", Hospital("south", pale), labelled=30)
    opened = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "read_scan", lambda ref: opened.append(ref.source) or read_scan(ref))
        made = run(labels, folder)
    return made, folder, opened


def test_labelled_target_scans_give_a_bundle_measured_on_them(labelled):
    made, _, _ = labelled
    record = read_record(open_bundle(made.bundle))
    assert made.record["ladder"]["kept"] in made.record["verdict"]
    assert made.record["validation"]["n"] == 30
    assert made.record["measured_on"] == "labelled target scans"
    assert "labelled target scans" in record.policy.measured_on
    assert record.backbone == "shufflenet_v2_x0_5@all"
    assert record.pooling == "mean"
    assert set(record.thresholds) == {"normal", "opacity"}
    assert record.temperature > 0
    assert next(iter(made.rungs)) in ("target probe", "nothing")
    assert made.record["ladder"]["refusal"] == ""
    assert made.result.val_auroc > 0.8
    page = (made.folder / "report.html").read_text()
    assert all(name in page for name in made.rungs)


def test_figures_are_of_logits_that_were_held_out(labelled):
    """The figure of the report is the ladder's held-out AUROC, not that of a model on what it was fitted on."""
    made, _, _ = labelled
    kept = made.rungs[made.record["ladder"]["kept"]]
    assert made.result.val_auroc == pytest.approx(kept["value"], abs=1e-6)


def test_test_rows_are_not_opened_and_unlabelled_rows_are_not_labels(labelled):
    made, folder, opened = labelled
    assert not [name for name in opened if "-test-" in name]
    assert len(set(opened)) == 60 + 30 + 40
    seen = parse_training_set(open_bundle(made.bundle).text(TRAINING_SET))
    cases = made.plan.cohort.cases
    assert all(seen.saw(case) is (case.split != "test") for case in cases)
    unlabelled = [case for case in cases if not case.labels]
    assert len(unlabelled) == 10
    assert made.record["training"]["train"] == {"normal": 30 + 16, "opacity": 30 + 14, "patients": 45}
    store = SampleStore(folder / "ws" / "cache", made.plan.preparation)
    for case in cases:
        assert store.path(case.ref.key).exists() is (case.split != "test")


def test_the_bundle_scores_as_the_rung_that_was_kept(labelled):
    """Its network on a fresh scan of each class, prepared as it says."""
    made, folder, _ = labelled
    bundle = open_bundle(made.bundle)
    record = read_record(bundle)
    classifier = load_classifier(bundle, record)
    store = SampleStore(folder / "fresh", record.preparation)
    tests = [case for case in made.plan.cohort.cases if case.split == "test" and case.site == "south"]
    store.fill([case.ref for case in tests])
    slices = torch.cat([to_tensor(store.load(case.ref.key)) for case in tests])
    with torch.inference_mode():
        logits = classifier(slices[:, None], torch.ones(len(slices), 1, dtype=torch.bool))
    found = (logits[:, 1] - logits[:, 0]).numpy()
    ill = np.array([case.labels == ("opacity",) for case in tests])
    assert found[ill].mean() > found[~ill].mean()
    assert not classifier.training


def test_no_identity_in_the_bundle_and_the_run(labelled):
    made, folder, _ = labelled
    files = [path for top in (made.bundle, made.folder) for path in top.rglob("*") if path.is_file()]
    for text in (*(path.read_bytes() for path in files), "\n".join(made.notes).encode()):
        assert b"MILLER" not in text
        assert str(folder / "in").encode() not in text


def test_a_second_run_computes_no_plain_features_again(labelled, tmp_path, monkeypatch):
    """Time for the first rung only: its features are in the cache."""
    made, folder, _ = labelled

    def never(*_args):
        raise AssertionError("the network was run")

    monkeypatch.setattr(SliceBagClassifier, "features", never)
    monkeypatch.setattr("pipeline.learn.reference_scans.reference_statistics", lambda *_args, **_kwargs: ({}, {}))
    monkeypatch.setattr("pipeline.learn.adapt.fit_gate", lambda *_args, **_kwargs: (None, ()))
    again = run(folder / "in" / "labels.csv", folder, name="again", time_budget=1e-9)
    later = [row["decision"] for name, row in again.rungs.items() if name != "recalibrate"][1:]
    assert later
    assert all(decision.startswith("left out for time") for decision in later)
    assert again.record["ladder"]["kept"] == next(iter(made.rungs))
