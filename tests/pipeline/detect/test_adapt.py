"""Task one_class from a plan to a bundle, and when it refuses."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from models.bundle import open_bundle
from models.errors import BundleError, UnknownNameError
from pipeline.decide.policy import parse_policy
from pipeline.detect.calibrate import LEAST_POOL, held_out
from pipeline.detect.scan_detector import load_detector, raw_threshold, read_scale
from pipeline.errors import PolicyError, RefusedError
from pipeline.learn.adapt import adapt
from pipeline.model_record import read_record
from pipeline.score.scan_models import load_model
from pipeline.watch import Watch
from pipeline.workspace import Workspace

CPU = torch.device("cpu")
RULE = parse_policy("false_alarm=0.05")


@pytest.fixture
def adapted(archive, tmp_path):
    """Runs the plan of the archive in its workspace."""

    def run(**config):
        space = Workspace(tmp_path / "ws").open()
        return adapt(archive.plan(**config), space, tmp_path / "bundle", space.run_folder("adapt"), Watch())

    return run


def hospital(archive):
    return archive.add(40, "normal", "train").add(24, "normal", "val").add(8, "disc", "val").add(9, "ring", "val")


def test_a_bundle_scores_as_its_detector_did(archive, adapted):
    result = adapted() if hospital(archive) else None
    bundle = open_bundle(result.bundle)
    record = read_record(bundle)
    assert (record.classes, record.task) == (("normal", "anomaly"), "one_class")
    assert record.training["val"] == {"normal": 24, "anomaly": 17, "patients": 41}
    detector, scale = load_detector(bundle, record, CPU), read_scale(bundle, record)
    model = load_model(bundle, record, CPU)
    for case in archive.cases[38:50] + archive.cases[-3:]:
        slices = archive.store.load(case.ref.key)
        raw = detector.raw_scores(archive.store, [case.ref.key])[0]
        outcome = model.decide(model.rows([slices])[0])
        assert outcome.anomaly_score == float(scale.score01(raw))
        assert (outcome.decision == "anomaly") == (raw >= raw_threshold(record))
        assert (outcome.decision == "anomaly") == bool(scale.abnormal(raw, 0.05))
        assert outcome.probability == (1 - outcome.anomaly_score, outcome.anomaly_score)
    metrics = json.loads(result.result.read_text())["validation"]
    assert set(metrics["labels"]) == {"disc", "ring"}
    assert metrics["classes"]["anomaly"]["auroc"]["value"] == result.val_auroc > 0.95


def test_the_same_plan_gives_the_same_detector(archive, adapted, tmp_path):
    hospital(archive)
    one = open_bundle(adapted().bundle).tensors()
    other = open_bundle(adapted().bundle).tensors()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_too_few_normals_are_refused_before_anything_is_fitted(archive, adapted, tmp_path):
    archive.add(40, "normal", "train").add(12, "normal", "val", per_patient=2)
    with pytest.raises(PolicyError, match=r"6 normal patients in val, at least 19 .* policy=false_alarm=0.143"):
        adapted()
    assert not (tmp_path / "bundle").exists()


def test_normals_alone_are_enough(archive, adapted):
    archive.add(40, "normal", "train").add(24, "normal", "val")
    result = adapted()
    assert result.val_auroc is None
    assert "no abnormal scan is labelled" in result.verdict


def test_a_target_where_nothing_looks_normal_is_refused_with_a_report(archive, adapted, tmp_path):
    hospital(archive).add(LEAST_POOL, "", "train", site="far", far=True)
    with pytest.raises(RefusedError, match=r"0% of the target's scans could be normal .* 19 patients of the target"):
        adapted(target_sites=("far",))
    assert not (tmp_path / "bundle").exists()
    (run,) = (tmp_path / "ws" / "runs" / "adapt").iterdir()
    assert "Refused" in (run / "report.html").read_text()
    told = json.loads((run / "result.json").read_text())
    assert told["bundle"] is None
    assert told["detector"]["share_normal"]["high"] < 0.2


def test_of_too_few_target_scans_nothing_is_said(archive, adapted):
    hospital(archive).add(LEAST_POOL - 1, "", "train", site="far", far=True)
    about = read_record(open_bundle(adapted(target_sites=("far",)).bundle)).detector
    assert "too few to say whether any looks normal" in "; ".join(about.notes)


def test_a_target_like_the_source_is_not_refused(archive, adapted):
    hospital(archive).add(LEAST_POOL, "", "train", site="near")
    assert adapted(target_sites=("near",)).bundle.is_dir()


def test_a_target_with_normals_of_its_own_is_ranked_among_these(archive, adapted):
    hospital(archive).add(25, "normal", "train", site="far", far=True).add(10, "disc", "train", site="far", far=True)
    cases, site = held_out(archive.plan(target_sites=("far",)), RULE)
    assert site == "far"
    assert {case.site for case in cases} == {"far"}
    bundle = open_bundle(adapted(target_sites=("far",)).bundle)
    record = read_record(bundle)
    assert record.detector.recalibrated
    assert (record.detector.calibrated_on.patients, record.detector.fitted_on.patients) == (25, 36)
    normals = [case.ref.key for case in cases if case.labels == ("normal",)]
    raw = load_detector(bundle, record, CPU).raw_scores(archive.store, normals)
    assert not (raw >= raw_threshold(record)).any()  # of 25 patients at 5 %, a scan must lie above all
    assert np.allclose(np.sort(read_scale(bundle, record).values), np.sort(np.unique(raw)))


def test_a_bundle_whose_detector_lacks_a_tensor_is_refused(archive, adapted, monkeypatch):
    hospital(archive)
    bundle = open_bundle(adapted().bundle)
    tensors = {name: tensor for name, tensor in bundle.tensors().items() if not name.startswith("learned.")}
    monkeypatch.setattr(type(bundle), "tensors", lambda _self, name="": tensors)
    with pytest.raises(BundleError, match="the weights do not fit mahalanobis"):
        load_detector(bundle, read_record(bundle), CPU)


def with_patients(archive, names):
    """Give some cases, by number, another's patient."""
    for n, other in names.items():
        archive.cases[n] = dataclasses.replace(archive.cases[n], patient=archive.cases[other].patient)


def test_nothing_is_calibrated_on_patients_that_were_fitted_on(archive, adapted):
    """Cases 0 to 39 are fitted on; an unlabelled one of the pool is of patient 0."""
    hospital(archive).add(6, "", "train")
    with_patients(archive, {81: 0})
    plan = archive.plan()
    cases, _ = held_out(plan, RULE)
    pool = [case for case in cases if not case.labels]
    assert len(pool) == 5
    assert archive.cases[81] not in pool
    about = read_record(open_bundle(adapted().bundle)).detector
    assert "1 scans were not calibrated or compared on: their patients were fitted on" in about.notes


def test_normals_of_the_target_whose_patients_were_fitted_on_do_not_count(archive):
    hospital(archive).add(20, "normal", "train", site="far", far=True)
    plan = archive.plan(target_sites=("far",))
    assert held_out(plan, RULE)[1] == "far"
    with_patients(archive, {n: n - 81 for n in (81, 82)})
    assert held_out(archive.plan(target_sites=("far",)), RULE)[1] == ""


def test_a_target_with_too_few_normals_for_the_policy_is_not_ranked_among_them(archive):
    hospital(archive).add(25, "normal", "train", site="far", far=True)
    plan = archive.plan(target_sites=("far",))
    assert held_out(plan, RULE)[1] == "far"
    assert held_out(plan, parse_policy("false_alarm=0.02"))[1] == ""  # needs 49 patients


def test_scans_that_the_networks_own_bundle_was_trained_on_are_left_out(archive, adapted, tmp_path):
    hospital(archive)
    parent = adapted().bundle
    archive.add(30, "normal", "val")
    plan = archive.plan(weights=str(parent))
    cases, _ = held_out(plan, RULE)
    assert {case.ref.key for case in cases} == {case.ref.key for case in archive.cases[81:]}


def test_scans_left_out_are_told_by_their_line_and_nothing_is_learned_from_them(archive, adapted):
    result = adapted(detector="knn") if hospital(archive).add(2, "ring", "train") else None
    record = read_record(open_bundle(result.bundle))
    assert (record.detector.fitted_on.scans, record.detector.left_out.scans) == (36, 4)
    told = json.loads(result.result.read_text())["detector"]["doubtful_lines"]
    assert len(set(told)) == 4
    assert set(told) <= {case.line for case in archive.cases[:40]}
    assert "Check these labels" in result.report.read_text()
    assert "doubtful" not in record.to_yaml()
    assert len(open_bundle(result.bundle).tensors()["learned.bank"]) == 36


def test_a_stage_that_the_network_lacks_is_told_before_anything_is_prepared(archive, adapted):
    hospital(archive)
    with pytest.raises(UnknownNameError, match="unknown stage 'layer9'"):
        adapted(detector="padim", detector_stages=("layer9",))


def test_the_detector_looks_at_the_stages_named(archive, adapted):
    hospital(archive)
    assert read_record(open_bundle(adapted(detector="padim", detector_stages=("layer2",)).bundle)).detector.stages == (
        "layer2",
    )
