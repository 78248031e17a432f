from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pipeline.decide.conformal import conformal_scale, patient_limit
from pipeline.decide.prediction_sets import calibrate_findings, calibrate_sets, prediction_sets, undetermined
from pipeline.decide.refer import referral

NAMES = ("normal", "bacterial", "viral")


def draw(rng, n, classes=3, signal=1.2):
    """Labels of an uneven mix, and softmax probabilities that know them a little."""
    label = rng.choice(classes, n, p=np.array([5, 3, 2])[:classes] / sum([5, 3, 2][:classes]))
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), label] += signal
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probability, np.eye(classes, dtype=np.int8)[label]


def two(normal, abnormal, level=0.1):
    """Sets of two classes from the probabilities that each one's own scans have for it, one scan a patient."""
    p = np.concatenate([np.array(normal), 1 - np.array(abnormal)])
    truth = np.repeat(np.eye(2, dtype=np.int8), [len(normal), len(abnormal)], axis=0)
    probability = np.stack([p, 1 - p], axis=1)
    return calibrate_sets(probability, truth, np.arange(len(p)), classes=("normal", "ill"), level=level)


def test_limits_worked_by_hand():
    record = two([0.9, 0.8, 0.7, 0.6], [0.95, 0.9, 0.85], level=0.25)
    assert record.present["normal"].limit == pytest.approx(0.4)  # ceil(5 * 0.75) = 4th smallest of .1 .2 .3 .4
    assert record.present["ill"].limit == pytest.approx(0.15)  # ceil(4 * 0.75) = 3rd smallest of .05 .1 .15
    sets = prediction_sets(record, np.array([[0.61, 0.39], [0.59, 0.41], [0.14, 0.86]]))
    assert sets.present.tolist() == [[True, False], [False, False], [False, True]]
    assert sets.size.tolist() == [1, 0, 1]


def test_too_few_patients_have_no_limit_and_one_more_has():
    assert two([0.9] * 8, [0.9] * 9).present["normal"].limit is None
    assert two([0.9] * 8, [0.9] * 9).present["ill"].limit == pytest.approx(0.1)
    assert two([0.9] * 8, [0.9] * 9).lacking == ("normal (8 patients)",)


@given(st.lists(st.integers(0, 30).map(lambda n: n / 32), min_size=1, max_size=60), st.sampled_from([0.05, 0.1, 0.25]))
@settings(max_examples=150, deadline=None)
def test_a_limit_is_the_quantile_of_the_definition(scores, level):
    k = ceil((len(scores) + 1) * (1 - level) - 1e-9)
    expected = sorted(scores)[k - 1] if k <= len(scores) else None
    assert patient_limit(np.array(scores), np.arange(len(scores)), level) == expected


@given(
    st.lists(st.integers(0, 12).map(lambda n: n / 16), min_size=2, max_size=40).filter(lambda s: len(set(s)) > 1),
    st.integers(1, 12),
    st.integers(0, 999),
)
@settings(max_examples=150, deadline=None)
def test_with_several_scans_a_patient_a_limit_is_where_the_p_value_passes_the_level(scores, owners, seed):
    patients = np.random.default_rng(seed).integers(owners, size=len(scores))
    limit = patient_limit(np.array(scores), patients, 0.2)
    for score in {*scores, 0.99}:
        held = conformal_scale(scores, patients).p_value(score) > 0.2 + 1e-12
        assert held == (limit is None or score <= limit)


def test_coverage_in_each_class_is_as_promised_over_many_calibrations():
    rng = np.random.default_rng(0)
    held = np.zeros(3)
    trials = np.zeros(3)
    for _ in range(1500):
        probability, truth = draw(rng, 150)
        record = calibrate_sets(probability, truth, np.arange(150), classes=NAMES, level=0.1)
        fresh, label = draw(rng, 3)
        sets = prediction_sets(record, fresh).present
        held += (sets & (label == 1)).sum(axis=0)
        trials += label.sum(axis=0)
    for one, number in zip(held, trials, strict=True):
        assert one >= binom.ppf(1e-4, number, 0.9)
        assert one <= binom.ppf(1 - 1e-4, number, 0.9 + 1 / 20)  # no class has fewer than 19 scans: 1 / (n + 1)


def test_coverage_of_a_new_patient_holds_where_patients_have_many_scans_alike():
    rng = np.random.default_rng(1)
    held = scanwise = 0
    for _ in range(2000):
        own = rng.normal(size=41)
        count = np.where(own > 0.8, 1, 12)  # those with high scores have one scan each: counting scans would miss them
        scores = np.repeat(own, count)
        patients = np.repeat(np.arange(41), count)
        known = patients < 40
        limit = patient_limit(scores[known], patients[known], 0.1)
        held += own[40] <= limit
        scanwise += own[40] <= patient_limit(scores[known], np.arange(known.sum()), 0.1)
    assert binom.ppf(1e-4, 2000, 0.9) <= held <= binom.ppf(1 - 1e-4, 2000, 0.9 + 1 / 41)
    assert scanwise < binom.ppf(1e-4, 2000, 0.9)


def test_a_set_of_both_sides_or_of_none_is_undetermined_and_one_side_is_not():
    record = calibrate_sets(
        np.repeat(np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.2, 0.3, 0.5]]), 20, axis=0),
        np.repeat(np.eye(3, dtype=np.int8), 20, axis=0),
        np.arange(60),
        classes=NAMES,
        level=0.1,
    )
    asked = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.4, 0.3, 0.3], [0.49, 0.02, 0.49]])
    told = undetermined(record, asked)
    assert told[0] == "the prediction set at 90 % holds normal and bacterial"
    assert told[1:3] == ("", "")  # bacterial or viral: abnormal either way
    assert told[3].startswith("the prediction set at 90 % is empty: ")
    assert told[4].startswith("the prediction set at 90 % is empty: ")


def test_a_class_of_too_few_patients_does_not_refer_every_scan():
    probability = np.concatenate([np.tile([0.8, 0.1, 0.1], (20, 1)), np.tile([0.1, 0.8, 0.1], (20, 1)), [[0, 0, 1]]])
    truth = np.eye(3, dtype=np.int8)[[0] * 20 + [1] * 20 + [2]]
    record = calibrate_sets(probability, truth, np.arange(41), classes=NAMES, level=0.1)
    assert record.present["viral"].limit is None
    assert prediction_sets(record, probability).present[:, 2].all()  # never excluded
    assert undetermined(record, np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])) == ("", "")
    assert undetermined(record, np.array([[0.5, 0.45, 0.05]]))[0].startswith("the prediction set at 90 % is empty")
    assert "viral (1 patients)" in record.lines[1]


def test_where_normal_has_too_few_patients_sets_refer_nothing():
    record = two([0.9] * 8, [0.9] * 30)
    assert not record.decides
    assert undetermined(record, np.array([[0.5, 0.5]])) == ("",)
    assert record.lines[0].startswith("no scan is referred")


def test_findings_are_questions_of_their_own_and_normal_decides():
    rng = np.random.default_rng(3)
    truth = np.zeros((400, 3), np.int8)
    truth[:, 1:] = rng.random((400, 2)) < 0.3
    truth[:, 0] = ~truth[:, 1:].any(axis=1)
    probability = 1 / (1 + np.exp(-(rng.normal(size=(400, 3)) + 1.6 * truth - 0.8)))
    record = calibrate_findings(probability, truth, np.arange(400), classes=NAMES, level=0.1)
    for c, name in enumerate(NAMES):
        has = truth[:, c] == 1
        assert record.present[name].limit == patient_limit(1 - probability[has, c], np.arange(has.sum()), 0.1)
        assert record.absent[name].limit == patient_limit(probability[~has, c], np.arange((~has).sum()), 0.1)
    assert undetermined(record, np.array([[0.999, 0.5, 0.5], [0.001, 0.5, 0.5]])) == ("", "")
    middle = undetermined(record, np.array([[0.5, 0.999, 0.001]]))[0]
    assert middle == "the prediction set at 90 % holds normal and any finding"
    sets = prediction_sets(record, np.array([[0.5, 0.999, 0.001]]))
    assert sets.size.tolist() == [4]  # normal both ways, and one answer for each finding


def test_a_reason_has_the_code_of_the_header_first_and_the_words_of_both():
    assert referral("", "") == ""
    assert referral("", "it is empty") == "UNCERTAIN: it is empty"
    assert referral("view LL, trained on PA", "") == "HEADER_RANGE: view LL, trained on PA"
    assert (
        referral("view LL, trained on PA", "it is empty")
        == "HEADER_RANGE: view LL, trained on PA; besides, it is empty"
    )
