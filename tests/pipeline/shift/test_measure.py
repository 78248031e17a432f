import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import ShiftError
from pipeline.shift.domain import Domain
from pipeline.shift.measure import measure_shift


def measure(reference, incoming, **options):
    return measure_shift(reference, incoming, **({"seed": 0, "permutations": 100} | options))


def with_age(side, mean):
    ages = np.random.default_rng(0).normal(mean, 5, side.n)
    return replace(side, headers={"Age": tuple(float(a) for a in ages), "Manufacturer": ("A",) * side.n})


@pytest.fixture(scope="module")
def alike(side):
    return measure(with_age(side(200, name="a"), 50), with_age(side(120, seed=1, name="b"), 50))


@pytest.fixture(scope="module")
def far(side):
    moved = side(120, seed=1, name="b")
    moved = replace(moved, features=moved.features + 5, logits=moved.logits * 3)
    return measure(with_age(side(200, name="a"), 50), with_age(moved, 80))


def test_alike_sides_have_no_shift_and_an_accuracy(alike):
    assert not alike.test.rejected
    assert alike.kind.kind == "none"
    assert alike.accuracy.estimable
    assert alike.accuracy.atc_entropy.low <= alike.accuracy.reference.value <= alike.accuracy.atc_entropy.high
    assert not any(field.rejected for field in alike.headers)


def test_a_far_side_is_refused_an_accuracy(far):
    assert far.test.rejected
    assert far.kind.kind in ("covariate", "both")
    assert far.sizes.c2st_auc.value > 0.95
    assert not far.accuracy.estimable
    assert far.accuracy.doc.value is None
    assert [field.field for field in far.headers if field.rejected] == ["Age"]
    assert far.labels_needed[0].labels > 300  # the worst case, as nothing is known


def test_another_mix_alone_keeps_the_accuracy_and_is_named(side):
    report = measure(side(400, name="a"), side(250, seed=1, share=0.15, name="b"))
    assert report.kind.kind == "prevalence"
    assert report.prevalence.detected
    assert report.accuracy.estimable
    assert report.prevalence.target[1].low <= 0.2


def test_json_is_plain_and_holds_no_patient(far):
    text = json.dumps(far.to_json(), allow_nan=False)
    read = json.loads(text)
    assert set(read) == {
        "reference", "incoming", "seed", "permutations", "test", "test_reason", "sizes", "kind", "headers",
        "prevalence", "prevalence_reason", "accuracy", "accuracy_reason", "labels_needed", "remarks",
    }  # fmt: skip
    assert read["sizes"]["mmd2"]["null"]["draws"] == 20
    assert '"a1"' not in text


def test_the_same_seed_gives_the_same_report(side):
    sides = side(60, name="a"), side(60, seed=1, name="b")
    assert measure(*sides).to_json() == measure(*sides).to_json()


def test_too_few_scans_are_not_compared(side):
    report = measure(with_age(side(100, name="a"), 50), with_age(side(100, seed=1).take(range(15)), 50))
    assert report.test is None
    assert report.test_reason.startswith("15 incoming scans of")
    assert report.sizes.mmd2.value is None
    assert report.sizes.mmd2.reason == report.prevalence_reason == report.accuracy_reason == report.kind.reason
    assert report.accuracy is None
    assert all(field.p_value is None for field in report.headers)


def test_few_scans_get_intervals_but_no_test(side):
    report = measure(side(100, name="a"), side(100, seed=1, name="b").take(range(40)))
    assert report.test is None
    assert "below 50" in report.test_reason
    assert report.sizes.c2st_auc.low is not None
    assert report.prevalence is not None
    assert report.kind.kind is None
    assert any("Only 40 incoming scans" in remark for remark in report.remarks)


def test_many_scans_of_few_patients_are_too_few(side):
    one = side(100, name="a")
    assert "of 5 patients" in measure(one, replace(one, patients=tuple(f"p{i % 5}" for i in range(100)))).test_reason


def test_without_a_head_features_are_compared_all_the_same(side):
    bare = [replace(s, logits=None, truth=None) for s in (side(100, name="a"), side(60, seed=1, name="b", move=3.0))]
    report = measure(*bare)
    assert report.test.rejected
    assert report.test.outputs is None
    assert report.kind.kind is None
    assert report.accuracy is None
    assert "needs a trained head" in report.accuracy_reason


def test_a_multilabel_task_has_no_mix_of_classes(side):
    report = measure(side(60, name="a"), side(60, seed=1, name="b"), task="multilabel")
    assert report.prevalence is None
    assert "multilabel" in report.prevalence_reason
    assert report.test.outputs is not None


def test_a_reference_without_one_class_says_so(side):
    reference = side(100, share=0.0, name="a")
    assert "class 1 has no reference scan" in measure(reference, side(60, seed=1, name="b")).prevalence_reason


def test_patients_on_both_sides_are_told(side):
    report = measure(side(60, name="a"), side(60, seed=1, name="a"))
    assert any("both sides" in remark for remark in report.remarks)


def test_large_sides_are_cut_to_whole_patients_and_say_so(side, monkeypatch):
    monkeypatch.setattr("pipeline.shift.measure.MOST", 80)
    report = measure(side(200, name="a"), side(60, seed=1, name="b"))
    assert report.reference.scans == 200
    assert 80 <= report.reference.used < 90
    assert any("took part" in remark for remark in report.remarks)


def test_sides_of_two_networks_are_refused(side):
    one = side(60)
    other = Domain(np.zeros((60, 7), np.float32), None, None, one.patients)
    with pytest.raises(ShiftError, match="features of the reference have 40 columns, incoming 7"):
        measure(one, other)
