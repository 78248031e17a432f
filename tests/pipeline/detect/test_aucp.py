import numpy as np
import pytest
from scipy.stats import norm, spearmanr
from sklearn.metrics import roc_auc_score

from pipeline.detect.aucp import LEAST, aucp
from pipeline.errors import CohortError


def scans(strength, *, n=400, m=400, share=0.3, seed=0, moved=0.0):
    """Scores of held-out normals and of a pool, and which of the pool are abnormal. Same seed, same scans."""
    rng = np.random.default_rng(seed)
    abnormal = rng.random(m) < share
    normals, pool = rng.normal(size=n), rng.normal(size=m) + moved
    return normals, pool + strength * abnormal, abnormal


def value(normals, pool, **options):
    options = {
        "normal_patients": [f"n{i}" for i in range(normals.size)],
        "pool_patients": [f"p{i}" for i in range(pool.size)],
        "resamples": 50,
    } | options
    return aucp(normals, pool, **options)


def test_it_is_the_auroc_of_normals_against_the_whole_pool_with_ties():
    rng = np.random.default_rng(0)
    normals, pool = rng.integers(0, 9, 80).astype(float), rng.integers(2, 12, 60).astype(float)
    found = value(normals, pool)
    expected = roc_auc_score([0] * 80 + [1] * 60, np.concatenate([normals, pool]))
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.low < found.value < found.high
    assert (found.normals, found.pool) == (80, 60)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_it_is_half_plus_the_share_of_what_the_auroc_is_beyond_half(share, strength):
    auroc = norm.cdf(strength / np.sqrt(2))
    found = np.mean([value(*scans(strength, share=share, seed=seed)[:2], resamples=2).value for seed in range(60)])
    assert found == pytest.approx(0.5 + share * (auroc - 0.5), abs=0.01)


def test_detectors_stand_in_the_order_of_their_auroc():
    strengths = np.linspace(0, 3, 9)
    by_label, without = [], []
    for strength in strengths:
        normals, pool, abnormal = scans(strength)
        by_label.append(roc_auc_score(abnormal, pool))
        without.append(value(normals, pool, resamples=2).value)
    assert spearmanr(by_label, without).statistic > 0.95


def test_a_pool_from_another_scanner_misleads():
    blind = value(*scans(0.0, moved=2.0)[:2], resamples=2).value
    good = value(*scans(2.0)[:2], resamples=2).value
    assert blind > good


def test_scans_of_few_patients_widen_the_interval():
    normals, pool, _ = scans(1.0)
    narrow = value(normals, pool, resamples=200)
    normals, pool = np.repeat(normals[:40], 10), np.repeat(pool[:40], 10)
    owner = [f"{i // 10}" for i in range(400)]
    clustered = value(normals, pool, resamples=200, normal_patients=[f"n{p}" for p in owner], pool_patients=owner)
    assert clustered.high - clustered.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize(
    ("normals", "pool", "words"),
    [
        (np.zeros(LEAST - 1), np.ones(LEAST), "49 scans in the held-out normals"),
        (np.zeros(LEAST), np.ones(LEAST - 1), "49 scans in the pool"),
        (np.zeros(LEAST), np.full(LEAST, np.nan), "not finite"),
    ],
)
def test_too_few_scans_or_other_numbers_are_refused(normals, pool, words):
    with pytest.raises(CohortError, match=words):
        value(normals, pool)


def test_scores_without_an_owner_are_refused():
    with pytest.raises(CohortError, match="50 scores of 3 scans"):
        value(np.zeros(50), np.ones(50), pool_patients=["a", "b", "c"])
