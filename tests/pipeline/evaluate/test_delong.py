import confidenceinterval
import numpy as np
import pytest
from confidenceinterval.delong import fastDeLong_no_weights
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from pipeline.errors import CohortError
from pipeline.evaluate.delong import auroc_covariance, auroc_interval, paired_test, placements


def cohort(n=80, seed=0, models=2, decimals=8):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    shared = rng.normal(size=n) + 1.2 * positive
    return np.round(shared + rng.normal(size=(models, n)), decimals), positive


def obuchowski(first, second, positive, patient):
    """Covariance of two AUROCs by the paper's own steps, one scan and one pair at a time."""

    def wins(x, y):
        return 1.0 if x > y else 0.5 if x == y else 0.0

    everyone = sorted(set(patient))
    rows = {who: [i for i in range(len(patient)) if patient[i] == who] for who in everyone}
    ups, downs = [i for i, p in enumerate(positive) if p], [i for i, p in enumerate(positive) if not p]
    m = {who: sum(bool(positive[i]) for i in rows[who]) for who in everyone}
    n = {who: len(rows[who]) - m[who] for who in everyone}
    total_m, total_n = len(ups), len(downs)
    x, y = [], []
    for score in (first, second):
        area = sum(wins(score[i], score[j]) for i in ups for j in downs) / (total_m * total_n)
        v10 = {i: sum(wins(score[i], score[j]) for j in downs) / total_n for i in ups}
        v01 = {j: sum(wins(score[i], score[j]) for i in ups) / total_m for j in downs}
        x.append({who: sum(v10[i] for i in rows[who] if positive[i]) - m[who] * area for who in everyone})
        y.append({who: sum(v01[j] for j in rows[who] if not positive[j]) - n[who] * area for who in everyone})
    i10, i01, i = sum(v > 0 for v in m.values()), sum(v > 0 for v in n.values()), len(everyone)
    s10 = i10 / ((i10 - 1) * total_m) * sum(x[0][who] * x[1][who] for who in everyone)
    s01 = i01 / ((i01 - 1) * total_n) * sum(y[0][who] * y[1][who] for who in everyone)
    s11 = i / (i - 1) * sum(x[0][who] * y[1][who] for who in everyone)
    s11_turned = i / (i - 1) * sum(x[1][who] * y[0][who] for who in everyone)
    return s10 / total_m + s01 / total_n + (s11 + s11_turned) / (total_m * total_n)


def test_worked_by_hand():
    """Positives 3, 2, 1 and negatives 2, 0: V10 = 1, 3/4, 1/2; V01 = 1/2 (3 wins, 2 ties), 1; AUROC 3/4.

    var(V10) = 1/16, var(V01) = 1/8, variance = 1/48 + 1/16 = 1/12.
    """
    score, positive = np.array([3.0, 2, 1, 2, 0]), np.array([1, 1, 1, 0, 0]) == 1
    above, below = placements(score[None], positive)
    assert above.tolist() == [[1, 0.75, 0.5]]
    assert below.tolist() == [[0.5, 1]]
    found = auroc_interval(score, positive, scale="plain")
    assert (found.value, found.variance) == pytest.approx((0.75, 1 / 12))
    assert (found.low, found.high) == pytest.approx((0.75 - 1.959964 / 12**0.5, 0.75 + 1.959964 / 12**0.5))
    for scale, quantile in (("logit", 1.959964), ("logit_t", 12.706205)):  # t: 2 negative patients, 1 degree of freedom
        found = auroc_interval(score, positive, scale=scale)
        half = quantile / 12**0.5 / (0.75 * 0.25)
        limits = 1 / (1 + np.exp(-np.log(3) - np.array([-half, half])))
        assert (found.low, found.high) == pytest.approx(tuple(limits))


@pytest.mark.parametrize("decimals", [8, 1, 0])  # 1 and 0: with ties
def test_agrees_with_confidenceinterval_and_scikit_learn(decimals):
    for seed in range(5):
        (score,), positive = cohort(seed=seed, models=1, decimals=decimals)
        found = auroc_interval(score, positive, scale="plain")
        value, limits = confidenceinterval.roc_auc_score(positive.astype(int).tolist(), score.tolist())
        assert found.value == pytest.approx(roc_auc_score(positive, score), abs=1e-12)
        assert (found.value, found.low, found.high) == pytest.approx((value, *limits), abs=1e-6)


def test_covariance_and_paired_p_agree_with_confidenceinterval():
    scores, positive = cohort(models=3, decimals=1)
    order = np.argsort(~positive, kind="stable")
    areas, covariance = fastDeLong_no_weights(scores[:, order], int(positive.sum()))
    found = auroc_covariance(scores, positive)
    np.testing.assert_allclose(found[0], areas, atol=1e-6)
    np.testing.assert_allclose(found[1], covariance, atol=1e-6)
    test = paired_test(scores[0], scores[1], positive)
    z = (areas[1] - areas[0]) / np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert (test.z, test.p_value) == pytest.approx((z, 2 * norm.sf(abs(z))), abs=1e-5)
    assert (test.low + test.high) / 2 == pytest.approx(test.difference)
    assert (test.p_value < 0.05) == (test.low > 0 or test.high < 0)


@pytest.mark.parametrize("decimals", [8, 0])
def test_clustered_agrees_with_the_papers_steps(decimals):
    for seed in range(4):
        scores, positive = cohort(n=40, seed=seed, decimals=decimals)
        patient = np.random.default_rng(seed).integers(15, size=40)  # of one side and of both
        _, covariance = auroc_covariance(scores, positive, patient)
        for a, b in ((0, 0), (0, 1), (1, 1)):
            assert covariance[a, b] == pytest.approx(obuchowski(scores[a], scores[b], positive, patient), abs=1e-14)
        test = paired_test(*scores, positive, patient)
        error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        assert test.z == pytest.approx(test.difference / error)


def test_clustered_is_delong_where_each_patient_has_one_scan():
    scores, positive = cohort(decimals=1)
    names = [f"p{i}" for i in np.random.default_rng(1).permutation(80)]
    both = auroc_covariance(scores, positive), auroc_covariance(scores, positive, names)
    for plain, clustered in zip(*both, strict=True):
        np.testing.assert_allclose(plain, clustered, rtol=1e-12)
    ups, downs = placements(scores, positive)
    np.testing.assert_allclose(
        auroc_covariance(scores, positive)[1], np.cov(ups) / ups.shape[1] + np.cov(downs) / downs.shape[1], rtol=1e-12
    )


def test_every_scan_twice_under_one_patient_gives_the_variance_of_once():
    scores, positive = cohort()
    once = auroc_covariance(scores, positive)
    twice = auroc_covariance(np.hstack([scores, scores]), np.tile(positive, 2), np.tile(np.arange(80), 2))
    np.testing.assert_allclose(once[1], twice[1], rtol=1e-12)
    assert auroc_interval(np.tile(scores[0], 2), np.tile(positive, 2)).variance < 0.6 * once[1][0, 0]


def test_only_ranks_count_and_turning_scores_mirrors():
    (score, other), positive = cohort()
    assert auroc_interval(np.exp(score), positive) == auroc_interval(score, positive)
    plain, turned = auroc_interval(score, positive), auroc_interval(-score, positive)
    assert (turned.value, turned.low, turned.high) == pytest.approx((1 - plain.value, 1 - plain.high, 1 - plain.low))
    there, back = paired_test(score, other, positive), paired_test(other, score, positive)
    assert (there.difference, there.p_value) == pytest.approx((-back.difference, back.p_value))


@pytest.mark.parametrize(
    ("score", "positive", "patient", "value", "reason"),
    [
        ([1, 2, 3, 4], [0, 0, 0, 0], None, None, "no positive rows"),
        ([1, 2, 3, 4], [1, 1, 1, 1], None, None, "no negative rows"),
        ([1, 2, 3, np.nan], [0, 1, 0, 1], None, None, "not a number"),
        ([1, 2, 3, 4], [0, 0, 1, 1], None, 1.0, "do not overlap"),
        ([3, 4, 1, 2], [0, 0, 1, 1], None, 0.0, "do not overlap"),
        ([5, 5, 5, 5], [0, 0, 1, 1], None, 0.5, "estimated as zero"),
        ([1, 3, 2, 4], [0, 0, 0, 1], None, 1.0, "a single patient"),
        ([1, 3, 2, 4], [0, 0, 1, 1], [1, 1, 1, 1], 0.75, "a single patient"),
        ([1, 3, 2, 4], [0, 0, 1, 1], [1, 1, 2, 3], 0.75, "a single patient"),
        ([1, 2, 1, 2], [0, 1, 0, 1], [1, 1, 2, 2], 1.0, "do not overlap"),
        ([1, 1, 3, 3], [0, 1, 0, 1], [1, 1, 2, 2], 0.5, "estimated as zero"),
    ],
)
def test_what_cannot_be_told_has_a_reason(score, positive, patient, value, reason):
    score, positive = np.array(score, float), np.array(positive) == 1
    found = auroc_interval(score, positive, patient)
    assert (found.value, found.low, found.high, found.variance) == (value, None, None, None)
    assert reason in found.reason
    test = paired_test(score, score[::-1], positive, patient)
    assert test.p_value is None or np.isfinite(test.p_value)
    assert (test.p_value is None) == bool(test.reason)


def test_models_that_rank_alike_are_not_tested():
    (score, _), positive = cohort()
    test = paired_test(score, np.exp(score), positive)
    assert (test.difference, test.p_value, test.low) == (0, None, None)
    assert test.reason == "both models rank the rows alike"
    apart, sides = np.array([1.0, 2, 3, 4]), np.array([0, 0, 1, 1]) == 1
    test = paired_test(-apart, apart, sides)  # without error, and wrong throughout
    assert (test.difference, test.p_value, test.reason) == (1, None, "its variance is estimated as zero")


def test_a_covariance_that_cannot_be_told_is_refused():
    scores, positive = cohort()
    with pytest.raises(CohortError, match="no negative rows"):
        auroc_covariance(scores, np.ones_like(positive))
    with pytest.raises(CohortError, match="a single patient"):
        auroc_covariance(scores, positive, np.zeros(80))


@pytest.mark.parametrize("scale", ["plain", "logit", "logit_t"])
def test_p_value_is_below_one_in_twenty_where_the_interval_leaves_chance_out(scale):
    seen = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        positive = np.arange(40) < 15
        found = auroc_interval(rng.normal(size=40) + 0.6 * positive, positive, rng.integers(0, 30, 40), scale=scale)
        outside = not found.low <= 0.5 <= found.high
        assert (found.p_value < 0.05) == outside
        seen.add(outside)
    assert seen == {True, False}


def test_p_value_by_hand():
    """AUROC 3/4, variance 1/12: z = 0.25 sqrt(12) = 0.866; on the logit scale ln 3 * 3/16 * sqrt(12) = 0.7136."""
    score, positive = np.array([3.0, 2, 1, 2, 0]), np.array([1, 1, 1, 0, 0]) == 1
    assert auroc_interval(score, positive, scale="plain").p_value == pytest.approx(2 * norm.sf(0.25 * 12**0.5))
    z = np.log(3) * 3 / 16 * 12**0.5
    assert auroc_interval(score, positive, scale="logit").p_value == pytest.approx(2 * norm.sf(z))
    assert auroc_interval(score, positive).p_value == pytest.approx(2 * t.sf(z, 1))
    assert auroc_interval(score, np.ones(5, bool)).p_value is None
