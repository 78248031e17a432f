from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decide.conformal import conformal_scale, patients_needed
from pipeline.errors import PolicyError

SCORES = st.lists(st.integers(-5000, 5000).map(lambda n: n / 64), min_size=2, max_size=40).filter(
    lambda scores: len(set(scores)) > 1
)


def single(scores):
    return conformal_scale(scores, np.arange(len(scores)))


def test_p_values_and_ranks_of_four_scans_worked_by_hand():
    scale = single([1.0, 2.0, 2.0, 4.0])
    assert scale.p_value([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 4.1]).tolist() == [1, 1, 0.8, 0.8, 0.4, 0.4, 0.2]
    assert scale.score01([1.0, 1.5, 2.0, 3.0, 4.0]).tolist() == pytest.approx([0.2, 0.4, 0.6, 0.7, 0.8])


def test_tails_worked_by_hand():
    scale = single([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # quartiles 1 and 5
    assert scale.spread == 4
    assert scale.score01(6.0 + 12.0) == 1 - (1 / 8) * (1 + 3) ** -0.5
    assert scale.score01(0.0 - 32.0) == (1 / 8) * (1 + 8) ** -0.5


def test_a_patient_with_many_scans_counts_once():
    scale = conformal_scale([1.0, 2.0, 3.0, 10.0], [7, 7, 7, 9])
    assert scale.p_value([0.0, 2.5, 11.0]) == pytest.approx([1, (1 + 1 / 3 + 1) / 3, 1 / 3])
    assert scale.score01([1.0, 2.0, 3.0, 10.0]) == pytest.approx([1 / 9, 2 / 9, 3 / 9, 6 / 9])
    assert "2 patients" in scale.warnings[0]


@given(SCORES, st.integers(1, 6), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_p_values_are_those_of_the_definition(scores, owners, seed):
    patients = np.random.default_rng(seed).integers(owners, size=len(scores)).tolist()
    scale = conformal_scale(scores, patients)
    number = len(set(patients))
    for s in [*scores, min(scores) - 1, max(scores) + 1, scores[0] + 1 / 128]:
        weight = sum(Fraction(1, patients.count(p)) for v, p in zip(scores, patients, strict=True) if v >= s)
        assert float(scale.p_value(s)) == pytest.approx(float((1 + weight) / (number + 1)), abs=1e-13)


@given(SCORES, st.lists(st.integers(-40_000, 40_000).map(lambda n: n / 256), min_size=2, max_size=60, unique=True))
@settings(max_examples=200, deadline=None)
def test_the_map_is_strictly_rising_within_0_and_1(scores, asked):
    found = single(scores).score01(sorted(asked))
    assert (np.diff(found) > 0).all()
    assert ((found > 0) & (found < 1)).all()


@given(SCORES)
@settings(max_examples=100, deadline=None)
def test_at_a_held_out_normal_the_map_is_its_rank(scores):
    ranks = [sum(other <= score for other in scores) for score in scores]
    assert single(scores).score01(scores).tolist() == [rank / (len(scores) + 1) for rank in ranks]


@given(SCORES, st.sampled_from([0.05, 0.1, 0.2, 0.29, 0.5]))
@settings(max_examples=200, deadline=None)
def test_a_scan_is_abnormal_exactly_above_the_limit(scores, level):
    scale = single(scores)
    if len(scores) < patients_needed(level):
        with pytest.raises(PolicyError, match="at least"):
            scale.limit(level)
        return
    asked = np.array([*scores, *(score + 1 / 128 for score in scores)])
    expected = scale.p_value(asked) <= level
    assert (scale.abnormal(asked, level) == expected).all()
    assert ((asked > scale.limit(level)) == expected).all()
    assert ((scale.score01(asked) > scale.score01(scale.limit(level))) == expected).all()


def test_scores_a_float32_apart_stay_apart_far_outside():
    scale = single(np.linspace(1, 2, 400))
    far = np.float32([3, 1e2, 1e4, 1e6])
    pair = scale.score01(np.stack([far, np.nextafter(far, np.float32(np.inf))]))
    assert (pair[0] < pair[1]).all()
    assert pair.max() < 1
    assert 0 < scale.score01(-1e90) < scale.score01(1e90) < 1


@pytest.mark.parametrize(("level", "needed"), [(0.05, 19), (0.1, 9), (0.07, 14), (0.01, 99), (1 / 3, 2), (0.9, 1)])
def test_the_number_of_patients_needed_is_the_smallest_that_can_reach_the_level(level, needed):
    assert patients_needed(level) == needed
    assert Fraction(1, needed + 1) <= Fraction(level) + Fraction(1, 10**12)
    assert needed == 1 or Fraction(1, needed) > Fraction(level) + Fraction(1, 10**12)


def test_too_few_patients_are_told_how_many_are_missing():
    with pytest.raises(
        PolicyError, match=r"10 held-out normal patients, at least 19 .* bring 9 more, .* 1/11 or more, such as 0\.091"
    ):
        single(np.arange(10.0)).abnormal(3.0, 0.05)
    assert single(np.arange(10.0)).abnormal([9.0, 9.1], 0.091).tolist() == [False, True]
    assert single(np.arange(19.0)).abnormal([18.0, 18.1], 0.05).tolist() == [False, True]


@pytest.mark.parametrize(
    ("scores", "patients", "words"),
    [
        ([0.3] * 30, range(30), "all 30 held-out normal scans have the same score"),
        ([], [], "no held-out normal scan"),
        ([1.0, np.nan], range(2), "not a number"),
        ([1.0, np.inf], range(2), "beyond"),
        ([1.0, 2.0], [1], "expected one a scan"),
    ],
)
def test_scores_that_make_no_scale_are_refused(scores, patients, words):
    with pytest.raises(PolicyError, match=words):
        conformal_scale(scores, list(patients))


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, float("nan")])
def test_a_level_that_is_no_share_is_refused(level):
    with pytest.raises(PolicyError, match="expected a share"):
        single([1.0, 2.0]).require(level)


def test_a_new_score_that_is_not_finite_is_refused():
    for ask in (single([1.0, 2.0]).p_value, single([1.0, 2.0]).score01):
        with pytest.raises(PolicyError, match="not a number"):
            ask(float("nan"))


def test_many_ties_are_warned_of():
    assert "only 2 different scores" in single([0.0] * 9 + [1.0]).warnings[0]
    assert not single(np.arange(10.0)).warnings


def test_the_mean_false_alarm_rate_over_splits_is_the_level():
    rates = []
    for seed in range(400):
        draw = np.random.default_rng(seed).gamma(2.0, size=99 + 200)
        rates.append(single(draw[:99]).abnormal(draw[99:], 0.05).mean())
    assert 0.04 < np.mean(rates) < 0.06


def test_it_is_the_level_for_new_patients_where_scans_of_a_patient_are_alike_and_uneven_in_number():
    rates, naive = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        centre = rng.normal(size=79 + 200)
        count = np.where(centre > 1, 1, 12)  # patients with high scores come once, others often
        owner = np.repeat(np.arange(79), count[:79])
        scores = centre[owner] + rng.normal(0, 0.3, owner.size)
        fresh = centre[79:] + rng.normal(0, 0.3, 200)
        rates.append(conformal_scale(scores, owner).abnormal(fresh, 0.05).mean())
        naive.append(single(scores).abnormal(fresh, 0.05).mean())
    assert 0.04 < np.mean(rates) < 0.06
    assert np.mean(naive) > 0.1  # what counting scans as patients would give
