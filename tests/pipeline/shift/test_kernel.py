import numpy as np
import pytest

from pipeline.shift.embedding import principal_components
from pipeline.shift.kernel import patient_kernel


def pairwise_mmd2(scores, first, units):
    """A second implementation, pair by pair, over pairs of different patients."""
    n = len(scores)
    distances = [[float(((a - b) ** 2).sum()) for b in scores] for a in scores]
    bandwidth = float(np.median([distances[i][j] for i in range(n) for j in range(i)]))
    means = {}
    for name in ("ss", "tt", "st"):
        total, count = 0.0, 0
        for i in range(n):
            for j in range(n):
                sides = {(True, True): "ss", (False, False): "tt", (True, False): "st"}.get((first[i], first[j]))
                if sides == name and units[i] != units[j]:
                    total += float(np.exp(-distances[i][j] / (2 * bandwidth)))
                    count += 1
        means[name] = total / count
    return means["ss"] + means["tt"] - 2 * means["st"]


def case(seed=0, n=20, shift=0.0):
    rng = np.random.default_rng(seed)
    units = np.sort(rng.integers(0, 9, n))
    units = np.unique(units, return_inverse=True)[1]
    first = units % 2 == 0
    scores = rng.normal(size=(n, 3))
    scores[~first] += shift
    return scores, units, first


def test_mmd_of_three_points_worked_by_hand():
    # Points 0, 1 against 0 and 2, each a patient: squares 1, 0, 4, 1, 1, 4; their median is 1, k = exp(-d^2 / 2).
    scores = np.array([[0.0], [1.0], [0.0], [2.0]])
    found = patient_kernel(scores, np.arange(4), np.array([True, True, False, False])).value
    k1, k4 = np.exp(-0.5), np.exp(-2)
    assert found == pytest.approx(k1 + k4 - 2 * (1 + k4 + k1 + k1) / 4)


def test_mmd_agrees_with_a_sum_over_pairs_where_patients_repeat():
    scores, units, first = case(shift=0.7)
    assert patient_kernel(scores, units, first).value == pytest.approx(pairwise_mmd2(scores, first, units))


def test_mmd_does_not_depend_on_the_order_of_the_scans():
    scores, units, first = case(1)
    shuffled = np.random.default_rng(0).permutation(len(units))
    found = patient_kernel(scores[shuffled], units[shuffled], first[shuffled]).value
    assert found == pytest.approx(patient_kernel(scores, units, first).value)


def test_permutation_p_agrees_with_permuting_patients_by_hand():
    scores, units, first = case(2, n=16, shift=0.8)
    kernel = patient_kernel(scores, units, first)
    sides = np.array([first[units == u][0] for u in range(units.max() + 1)])
    rng = np.random.default_rng(9)
    observed = pairwise_mmd2(scores, first, units)
    beyond = sum(pairwise_mmd2(scores, rng.permutation(sides)[units], units) >= observed - 1e-12 for _ in range(150))
    assert kernel.p_value(seed=0, permutations=2000) == pytest.approx((1 + beyond) / 151, abs=0.1)


def test_p_is_never_zero_and_has_the_smallest_step():
    scores, units, first = case(3, n=60, shift=50.0)
    assert patient_kernel(scores, units, first).p_value(seed=0, permutations=19) >= 1 / 20


def test_mmd_is_unbiased_where_scans_of_a_patient_are_nearly_copies():
    values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        units = np.repeat(np.arange(20), 3)
        scores = rng.normal(size=(20, 2))[units] + 0.01 * rng.normal(size=(60, 2))
        values.append(patient_kernel(scores, units, units < 10).value)
    assert abs(np.mean(values)) < 3 * np.std(values) / 200**0.5


def test_resampled_values_spread_around_the_observed_one():
    scores, units, first = case(4, n=200, shift=1.0)
    units = np.arange(200)
    first = np.arange(200) < 100
    scores[100:] += 1.0
    kernel = patient_kernel(scores, units, first)
    drawn = kernel.resampled(seed=0, resamples=300)
    assert np.quantile(drawn, 0.025) < kernel.value < np.quantile(drawn, 0.975)


def test_identical_scans_give_zero_instead_of_a_division_by_zero():
    found = patient_kernel(np.ones((6, 2)), np.arange(6), np.arange(6) < 3)
    assert found.value == pytest.approx(0)


@pytest.mark.parametrize(("n", "width"), [(30, 80), (80, 30)])
def test_principal_components_agree_with_a_singular_value_decomposition(n, width):
    features = np.random.default_rng(0).normal(size=(n, width)) * np.linspace(3, 0.1, width)
    centred = features - features.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    found = principal_components(features.astype(np.float32), 5)
    assert np.abs(found) == pytest.approx(np.abs(u[:, :5] * s[:5]), abs=1e-4)


def test_no_more_directions_than_the_scans_allow():
    assert principal_components(np.random.default_rng(0).normal(size=(5, 40))).shape == (5, 4)


def test_directions_fitted_on_one_side_alone_would_alarm_without_a_shift():
    # Why both sides go into the directions: more directions than the reference can carry, and it spreads wider.
    alone = joint = 0
    for seed in range(20):
        features = np.random.default_rng(seed).normal(size=(80, 400))
        first = np.arange(80) < 40
        centred = features - features[first].mean(axis=0)
        directions = np.linalg.svd(centred[first], full_matrices=False)[2][:32]
        for scores, add in ((centred @ directions.T, "alone"), (principal_components(features), "joint")):
            alarm = patient_kernel(scores, np.arange(80), first).p_value(seed=seed, permutations=99) <= 0.05
            alone, joint = alone + (alarm and add == "alone"), joint + (alarm and add == "joint")
    assert alone > 15
    assert joint <= 4
