"""A gate made of a cohort: scans of its kind pass, others do not, in scoring as in validation."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from models.bundle import NETWORK, SETTINGS, open_bundle, write_bundle
from models.detectors.training import Schedule
from pipeline.config import Config
from pipeline.evaluate.validate import validate
from pipeline.gate.fit import LEAST_HELD, fit_gate, gate_sides
from pipeline.gate.gate import MOST_SCANS, TENSORS
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.adapt import adapt
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.model_record import load_classifier, read_record
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import build_cohort, load_rows
from pipeline.prepare.samples import LEVELS
from pipeline.score.folder import score_folder
from pipeline.score.scan_models import load_model
from pipeline.watch import Watch
from pipeline.workspace import Workspace
from tests.pipeline.detect.conftest import SIDE, Archive, _one_thread  # noqa: F401

CPU = torch.device("cpu")


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "ws" / "cache")


def gate_of(archive, cases=None):
    network = archive.plan().classifier.eval()
    return fit_gate(
        network.backbone,
        network.features,
        archive.store,
        archive.cases if cases is None else cases,
        seed=0,
        device=CPU,
        watch=Watch(),
    )


def other_kind(seed):
    """A field of blobs: neither stripes nor checks."""
    rng = np.random.default_rng(seed)
    image = np.kron(rng.random((SIDE // 2, SIDE // 2)) ** 4, np.ones((2, 2)))
    return (image * LEVELS).astype(np.uint16)[None, None]


def test_sides_share_no_patient_and_val_rows_are_held_out(archive):
    archive.add(40, "normal", "train", per_patient=2).add(24, "normal", "val").add(9, "disc", "test")
    bank, held = gate_sides(archive.cases, 0)
    assert {case.split for case in held} == {"val"}
    assert (len(bank), len(held)) == (40, 24)
    assert {case.patient for case in bank} & {case.patient for case in held} == set()
    first = [case.patient for case in bank[:20]]
    assert len(set(first)) == 20  # each patient once before any twice


def test_of_a_site_without_val_rows_a_quarter_of_the_patients_is_held_out(archive):
    archive.add(40, "normal", "train", site="a").add(24, "normal", "val", site="a").add(40, "", "train", site="b")
    bank, held = gate_sides(archive.cases, 0)
    assert [sum(case.site == site for case in held) for site in "ab"] == [24, 10]
    assert len(bank) == 70


def test_a_scan_listed_twice_counts_once_and_banks_are_capped(archive):
    archive.add(30, "normal", "train")
    archive.cases *= 2
    assert sum(map(len, gate_sides(archive.cases, 0))) == 30
    many = [case for n in range(700) for case in _renamed(archive.cases[0], n)]
    assert len(gate_sides(many, 0)[0]) == MOST_SCANS


def _renamed(case, n):
    return [replace(case, patient=str(n), ref=replace(case.ref, content=str(n)))]


def test_too_few_patients_give_no_gate_and_say_so(archive):
    archive.add(19, "normal", "train").add(LEAST_HELD, "normal", "val")
    gate, notes = gate_of(archive)
    assert gate is None
    assert "19 and 10 patients to say what is usual, 20 and 10 are needed" in notes[0]
    archive.add(1, "normal", "train")
    assert gate_of(archive)[0].record.held_out == LEAST_HELD


def test_a_small_target_is_among_the_scans_compared_with(archive):
    archive.add(30, "normal", "train", site="a").add(12, "normal", "val", site="b")
    source = [case for n in range(60) for case in _renamed(archive.cases[0], f"s{n}")]
    bank, held = gate_sides([*source * 20, *archive.cases], 0)
    assert [sum(case.site == "b" for case in side) for side in (bank, held)] == [9, 3]
    assert {case.site for case in bank[:2]} == {"a", "b"}


@pytest.mark.parametrize("detector", ["patchcore", "autoencoder", "padim", "stfpm"])
def test_every_detector_scores_with_a_gate(archive, tmp_path, detector, monkeypatch):
    monkeypatch.setattr("models.detectors.trained.Schedule", _short(Schedule))
    archive.add(30, "normal", "train").add(20, "normal", "val")
    space = Workspace(tmp_path / "ws").open()
    result = adapt(archive.plan(detector=detector), space, tmp_path / "bundle", space.run_folder("adapt"), Watch())
    bundle = open_bundle(result.bundle)
    model = load_model(bundle, read_record(bundle), CPU)
    samples = [archive.store.load(case.ref.key) for case in archive.cases[:20]]
    outcomes = [model.decide(rows) for rows in model.rows(samples)]
    assert {outcome.status for outcome in outcomes} == {"scored"}
    plain = replace(model, gate=None)
    assert [outcome.anomaly_score for outcome in outcomes] == [
        plain.decide(rows).anomaly_score for rows in plain.rows(samples)
    ]
    assert model.decide(model.rows([other_kind(0)])[0]).status == "refused"


def _short(kind):
    return lambda epochs, steps, batch: kind(epochs=min(epochs, 2), steps=min(steps, 3), batch=min(batch, 8))


def test_a_detector_refuses_another_kind_of_picture_and_scores_its_own(archive, tmp_path):
    archive.add(60, "normal", "train").add(40, "disc", "train").add(40, "normal", "val").add(25, "disc", "val")
    space = Workspace(tmp_path / "ws").open()
    result = adapt(archive.plan(), space, tmp_path / "bundle", space.run_folder("adapt"), Watch())
    bundle = open_bundle(result.bundle)
    record = read_record(bundle)
    assert record.gate.scans == 100
    assert record.gate.limit == pytest.approx(2 * record.gate.usual)
    model = load_model(bundle, record, CPU)
    archive.add(30, "normal", "test").add(30, "disc", "test")
    own = [model.decide(model.rows([archive.store.load(case.ref.key)])[0]).status for case in archive.cases[-60:]]
    assert own == ["scored"] * 60
    others = [model.decide(model.rows([other_kind(seed)])[0]) for seed in range(20)]
    assert {outcome.status for outcome in others} == {"refused"}
    assert all(outcome.reason.startswith("NOT_APPLICABLE: unlike") for outcome in others)
    assert others[0].probability == ()


@pytest.fixture
def gated_bundle(radiograph_bundle, samples, tmp_path):
    """The sample radiographs' classifier with a gate made of them."""
    bundle = open_bundle(radiograph_bundle)
    record = read_record(bundle)
    labels = samples / "radiographs" / "labels.csv"
    config = Config(classes=record.classes)
    rows = load_rows(labels, config)
    cases = build_cohort(labels, rows, scan_sources([Path(row.path) for row in rows]), config).cases
    network = load_classifier(bundle, record)
    store = SampleStore(tmp_path / "store", record.preparation)
    gate, notes = fit_gate(network.backbone, network.features, store, cases, seed=0, device=CPU, watch=Watch())
    assert notes == ()
    texts = {
        SETTINGS: record.model_copy(update={"gate": gate.record}).to_yaml(),
        TRAINING_SET: bundle.text(TRAINING_SET),
    }
    return write_bundle(tmp_path / "gated", texts, {NETWORK: bundle.tensors(), TENSORS: gate.tensors()}).folder


def test_scoring_and_validation_leave_out_the_same_scans(gated_bundle, radiograph_bundle, samples, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(samples / "radiographs", folder)
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if row["split"] == "test"]
    odd = folder / rows[0]["path"]
    image = pydicom.dcmread(odd)
    values = image.pixel_array
    values[:] = 0
    values[: len(values) // 2] = 2**image.BitsStored - 1
    image.set_pixel_data(values, image.PhotometricInterpretation, image.BitsStored)
    image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    image.save_as(odd)
    score_folder(folder, gated_bundle, tmp_path / "s")
    with (tmp_path / "s" / "scores.csv").open(newline="") as file:
        reasons = {row["source"]: row["reason"] for row in csv.DictReader(file) if row["status"] == "refused"}
    assert len(reasons) == 1
    ((source, reason),) = reasons.items()
    assert source.endswith(rows[0]["path"])
    assert reason.startswith("NOT_APPLICABLE: unlike all scans")
    result = validate(gated_bundle, folder / "labels.csv", Workspace(tmp_path / "w").open(), tmp_path / "v", Watch())
    assert result.metrics["n"] == len(rows) - 1
    assert [why for _, why in result.left_out] == [reason]
    assert "1 rows were left out because they are unlike all scans" in (tmp_path / "v" / "report.html").read_text()
