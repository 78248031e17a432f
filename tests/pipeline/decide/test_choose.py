import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from pipeline.decide.choose import choose, patient_share
from pipeline.decide.conformal import conformal_scale
from pipeline.decide.decision_scores import decision_scores
from pipeline.decide.policy import parse_policy
from pipeline.errors import PolicyError

ROWS = "validation rows"


def held(normal=(), abnormal=(), pool=(), patients=None):
    score = [*normal, *abnormal, *pool]
    side = [0] * len(normal) + [1] * len(abnormal) + [-1] * len(pool)
    return decision_scores(score, side, patients or [str(n) for n in range(len(score))], seed=1)


def chosen(text, scores, *, raw=False):
    return choose(parse_policy(text), scores, measured_on=ROWS, raw=raw)


def figures(choice):
    return {figure.name: figure for figure in choice.record.achieved}


NORMAL = np.arange(1, 40) / 100  # 39 normals, 0.01 to 0.39


def test_false_alarms_are_cut_above_the_conformal_limit():
    choice = chosen("false_alarm=0.05", held(NORMAL, [0.2, 0.9]))
    assert choice.threshold == np.nextafter(0.38, 1)  # p of 0.38 is 3/40, of anything above 2/40
    found = figures(choice)
    assert (found["false_alarm"].value, found["sensitivity"].value) == (pytest.approx(1 / 39), 0.5)
    low, high = binomtest(1, 39).proportion_ci(method="wilson")
    assert (found["false_alarm"].low, found["false_alarm"].high) == pytest.approx((low, high), abs=1e-6)
    assert choice.record.chosen_on == "39 normal scans of 39 patients among the validation rows"
    assert choice.record.raw_threshold is None


def test_too_few_normals_are_told_how_many_are_needed():
    with pytest.raises(PolicyError, match="at least 99 are needed"):
        chosen("false_alarm=0.01", held(NORMAL))


def test_the_raw_threshold_and_the_anomaly_score_decide_as_the_exact_p_value_does():
    rng = np.random.default_rng(0)
    normals = rng.gamma(3, 40, 150).astype(np.float32)
    owner = rng.integers(100, size=150)
    choice = chosen("false_alarm=0.05", held(normals, patients=[str(n) for n in owner]), raw=True)
    scale = conformal_scale(normals, owner)
    fresh = np.concatenate([normals, np.nextafter(normals, np.float32(1e9)), rng.gamma(5, 60, 3000)]).astype(np.float64)
    exact = scale.p_value(fresh) <= 0.05
    assert 0 < exact.mean() < 1
    assert ((fresh >= choice.record.raw_threshold) == exact).all()
    assert ((scale.score01(fresh) >= choice.threshold) == exact).all()
    assert any("100 patients" in note or "patients: each patient counts once" in note for note in choice.record.notes)


def test_sensitivity_is_the_highest_threshold_that_finds_the_share():
    choice = chosen("sensitivity=0.75", held(NORMAL, [0.3, 0.5, 0.7, 0.9]))
    assert choice.threshold == 0.5
    found = figures(choice)
    assert (found["sensitivity"].value, found["false_alarm"].value) == (0.75, 0)
    assert not choice.record.notes
    assert (
        "4 abnormal patients are too few"
        in chosen("sensitivity=0.95", held(NORMAL, [0.3, 0.5, 0.7, 0.9])).record.notes[0]
    )


def test_sensitivity_of_raw_scores_is_on_both_scales():
    scores = held(NORMAL * 100, [30.0, 50, 70, 90])
    choice = chosen("sensitivity=0.75", scores, raw=True)
    assert choice.record.raw_threshold == 50
    assert choice.threshold == conformal_scale(NORMAL * 100, range(39)).score01(50.0)


def test_sensitivity_without_abnormal_scans_says_how_many_to_label():
    with pytest.raises(PolicyError, match=r"no abnormal scan .* at least 20 patients"):
        chosen("sensitivity=0.95", held(NORMAL))


def test_capacity_is_a_quantile_of_the_pool_where_there_is_one():
    pool = np.arange(100, 150) / 200
    choice = chosen("capacity=20/200", held(NORMAL, pool=pool))
    called = (pool >= choice.threshold).sum()
    assert called == 4  # k = floor(20 * 51 / 200) = 5: those above the fifth highest
    assert figures(choice)["readings"].value == 4 / 50
    assert choice.record.chosen_on.startswith("50 unlabelled scans")
    assert f"{binom.ppf(0.95, 200, 0.1):.0f} readings" in choice.record.notes[0]


def test_capacity_without_a_pool_is_on_normals_and_says_so():
    choice = chosen("capacity=20/200", held(NORMAL))
    assert (choice.threshold <= NORMAL).sum() == 3  # k = floor(20 * 40 / 200) = 4
    assert choice.record.chosen_on.startswith("39 normal scans")
    assert any("abnormal ones come on top" in note for note in choice.record.notes)


def test_capacity_with_too_few_of_either_says_how_many():
    with pytest.raises(PolicyError, match=r"2 unlabelled and 39 normal held-out scans; at least 199"):
        chosen("capacity=1/200", held(NORMAL, pool=[0.1, 0.2]))


def test_mean_readings_stay_within_capacity():
    shares = []
    for seed in range(300):
        draw = np.random.default_rng(seed).random(60 + 300)
        shares.append((draw[60:] >= chosen("capacity=1/10", held(pool=draw[:60])).threshold).mean())
    assert 0.08 < np.mean(shares) < 0.105


@pytest.mark.parametrize("text", ["false_alarm=0.05", "sensitivity=0.9", "capacity=1/10", "cost=5@0.1"])
def test_all_identical_scores_are_refused_by_every_policy(text):
    with pytest.raises(PolicyError, match="same score"):
        chosen(text, held([0.5] * 40, [0.5] * 40, [0.5] * 40))


def test_several_scans_of_a_patient_count_once_and_widen_the_interval():
    scores = held([0.1] * 30 + [0.2, 0.9], patients=["many"] * 30 + ["a", "b"])
    choice = chosen("false_alarm=0.5", scores)
    assert choice.threshold == np.nextafter(0.2, 1)
    alarm = figures(choice)["false_alarm"]
    assert (alarm.value, alarm.scans, alarm.patients) == (pytest.approx(1 / 3), 32, 3)
    assert (alarm.low, alarm.high) == pytest.approx(tuple(binomtest(1, 3).proportion_ci(method="wilson")), abs=1e-6)
    assert any("each patient counts once" in note for note in choice.record.notes)


def test_patient_share_is_the_mean_of_means():
    assert patient_share(np.array([True, False, False, True]), np.array([0, 0, 0, 5])) == pytest.approx((1 / 3 + 1) / 2)


@given(st.lists(st.integers(0, 1000), min_size=20, max_size=60, unique=True), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_another_order_of_the_scans_gives_the_same_threshold(values, seed):
    order = np.random.default_rng(seed).permutation(len(values))
    one, other = (held([values[n] / 1000 for n in rows]) for rows in (range(len(values)), order))
    assert chosen("false_alarm=0.1", one).threshold == chosen("false_alarm=0.1", other).threshold
