import numpy as np
import pytest
from scipy.stats import ks_2samp

from pipeline.errors import ShiftError
from pipeline.shift.domain import Domain
from pipeline.shift.two_sample import combine, feature_test, output_test, shift_test

SPLITS = 200
# 2 to 8 % of 200 splits. A test at exactly 5 % gives 3 to 18 alarms with 99.6 %, so seeds are fixed.
FEWEST, MOST = 4, 16


def halves(side, seed, n=200):
    whole = side(n, seed=seed, most=6)
    order = np.random.default_rng(seed).permutation(whole.n_patients)
    first = np.isin(whole.units, order[: whole.n_patients // 2])
    return whole.take(np.flatnonzero(first)), whole.take(np.flatnonzero(~first))


@pytest.fixture(scope="module")
def alarms(side):
    found = {"outputs": 0, "features": 0, "both": 0}
    for seed in range(SPLITS):
        test = shift_test(*halves(side, seed), seed=seed, permutations=200)
        found["outputs"] += test.outputs.p_value < 0.05
        found["features"] += test.features.p_value < 0.05
        found["both"] += test.rejected
    return found


@pytest.mark.parametrize("which", ["outputs", "features"])
def test_each_test_keeps_its_level_on_split_halves_with_repeated_patients(alarms, which):
    assert FEWEST <= alarms[which] <= MOST


def test_the_combined_test_raises_no_more_than_8_percent_false_alarms(alarms):
    assert alarms["both"] <= MOST


def test_rows_taken_as_independent_would_not_keep_the_level(side):
    # The same halves, all scans of a patient counted: shows that the simulation can fail.
    wrong = 0
    for seed in range(SPLITS):
        one, other = halves(side, seed)
        wrong += ks_2samp(one.logits[:, 0], other.logits[:, 0]).pvalue < 0.05
    assert wrong > 1.5 * MOST


def test_a_big_shift_is_seen_in_50_scans_every_time(side):
    seen = [
        shift_test(side(300, seed=s, name="a"), side(50, seed=s + 500, name="b", move=3.0), seed=s).rejected
        for s in range(20)
    ]
    assert all(seen)


def test_what_the_head_ignores_is_seen_by_the_features_alone(side):
    test = shift_test(side(300, name="a"), side(200, seed=1, name="b", move=1.5), seed=0)
    assert test.by == ("features",)


def test_outputs_agree_with_scipy_where_no_patient_repeats(side):
    one, other = side(200, most=1, name="a"), side(100, most=1, seed=1, share=0.3, name="b")
    found = output_test(one, other, seed=0)
    chances = [1 / (1 + np.exp(s.logits[:, 1] - s.logits[:, 0])) for s in (one, other)]
    expected = ks_2samp(*chances, method="asymp")
    assert len(found.gaps) == 1  # two probabilities that add up to 1 are one test
    assert found.gaps[0].statistic == pytest.approx(expected.statistic, abs=1e-6)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.patients == (200, 100)


def test_each_label_of_a_multilabel_head_is_tested_and_paid_for():
    rng = np.random.default_rng(0)
    sides = []
    for up in (0, 2):
        logits = rng.normal(size=(80, 4))
        logits[:, 3] += up
        sides.append(Domain(rng.normal(size=(80, 3)).astype(np.float32), logits, None, ("",) * 80))
    found = output_test(*sides, seed=0, task="multilabel")
    assert [gap.column for gap in found.gaps] == [0, 1, 2, 3]
    assert found.p_value == pytest.approx(4 * min(gap.p_value for gap in found.gaps))
    assert min(found.gaps, key=lambda gap: gap.p_value).column == 3


def test_two_tests_pay_for_each_other_and_one_does_not(side):
    one, other = side(60, name="a"), side(60, seed=1, name="b")
    features, _ = feature_test(one, other, seed=0, permutations=100)
    alone = combine(None, features)
    assert alone.p_value == features.p_value
    outputs = output_test(one, other, seed=0)
    assert combine(outputs, features).p_value == min(1, 2 * min(outputs.p_value, features.p_value))


def test_one_patient_on_a_side_is_refused(side):
    one = side(60)
    with pytest.raises(ShiftError, match="fewer than two patients"):
        shift_test(one, one.take(np.flatnonzero(one.units == 0)), seed=0)


def test_the_same_seed_gives_the_same_test(side):
    sides = side(100, name="a"), side(100, seed=1, name="b")
    assert shift_test(*sides, seed=3, permutations=100) == shift_test(*sides, seed=3, permutations=100)


def test_outputs_without_logits_are_refused(side):
    one = side(30)
    without = Domain(one.features, None, None, one.patients)
    with pytest.raises(ShiftError, match="no logits"):
        output_test(one, without, seed=0)
    assert shift_test(one, without, seed=0, permutations=50).outputs is None


def test_few_incoming_scans_keep_the_level_too(side):
    alarms = 0
    for seed in range(100):
        whole = side(200, seed=seed + 7000, most=6)
        order = np.random.default_rng(seed).permutation(whole.n_patients)
        few = np.isin(whole.units, order[: whole.n_patients // 5])
        incoming, reference = whole.take(np.flatnonzero(few)), whole.take(np.flatnonzero(~few))
        alarms += shift_test(reference, incoming, seed=seed, permutations=200).rejected
    assert alarms <= 10
