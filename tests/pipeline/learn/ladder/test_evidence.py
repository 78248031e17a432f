"""What the target says of a rung, against scikit-learn, scipy and resampling written out."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from pipeline.evaluate.intervals import resampled_weights
from pipeline.learn.ladder.evidence import RESAMPLES, Evidence, agreement_evidence, auroc_evidence, class_margins


def made_up(n, classes, *, strength=1.0, seed=0, scans=2):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // scans % classes
    logits = rng.normal(size=(n, classes)) + strength * np.eye(classes)[labels]
    return torch.from_numpy(logits), torch.eye(classes)[labels], [f"patient {k // scans}" for k in range(n)]


def redrawn(patients, column, seed):
    """Rows of one bootstrap resample, patient by patient, as often as they were drawn."""
    names = sorted(set(patients))
    weights = next(resampled_weights(len(names), column + 1, seed, column + 1))[:, column].astype(int)
    return np.concatenate(
        [
            np.repeat([n for n, p in enumerate(patients) if p == name], times)
            for name, times in zip(names, weights, strict=True)
        ]
    ).astype(int)


def margins_by_hand(logits):
    """log p_c - log(1 - p_c) of the softmax."""
    p = torch.softmax(logits.double(), dim=1).numpy()
    return np.log(p) - np.log(1 - p)


def test_margins_are_log_odds_of_the_softmax():
    logits, _, _ = made_up(20, 4)
    np.testing.assert_allclose(class_margins(logits.numpy(), "multiclass"), margins_by_hand(logits), atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_auroc_is_scikit_learns_macro_average_of_one_versus_rest(classes):
    logits, targets, patients = made_up(60, classes)
    found = auroc_evidence(logits, targets, patients, task="multiclass", seed=0)
    p = torch.softmax(logits, dim=1).numpy()
    expected = np.mean([roc_auc_score(targets[:, c], p[:, c]) for c in range(classes)])
    assert found.value == pytest.approx(expected)
    assert found.name == "AUROC"


def test_findings_of_several_labels_are_ranked_by_their_own_logit():
    """Sigmoids do not compete: what another finding's logit is must not matter."""
    logits, targets, patients = made_up(60, 3)
    targets[::3, 2] = 1
    found = auroc_evidence(logits, targets, patients, task="multilabel", seed=0)
    expected = np.mean([roc_auc_score(targets[:, c], logits[:, c]) for c in range(3)])
    assert found.value == pytest.approx(expected)
    views = [logits, torch.from_numpy(np.random.default_rng(3).normal(size=(60, 3)))]
    agreed = agreement_evidence(views, patients, task="multilabel", seed=0)
    expected = np.mean([spearmanr(views[0][:, c], views[1][:, c]).statistic for c in range(3)])
    assert agreed.value == pytest.approx(expected)


def test_replicates_are_aurocs_of_resampled_patients():
    logits, targets, patients = made_up(45, 3, scans=3)
    found = auroc_evidence(logits, targets, patients, task="multiclass", seed=11)
    assert found.replicates.shape == (RESAMPLES,)
    margins = margins_by_hand(logits)
    for column in (0, 1, 17, 999):
        rows = redrawn(patients, column, 11)
        expected = np.mean([roc_auc_score(targets[rows, c], margins[rows, c]) for c in range(3)])
        assert found.replicates[column] == pytest.approx(expected)


def test_a_tie_counts_half():
    logits = torch.tensor([[0.0, 0.0]] * 4)
    targets = torch.eye(2)[[0, 0, 1, 1]]
    assert auroc_evidence(logits, targets, list("abcd"), task="multiclass", seed=0).value == 0.5
    some = torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 2.0], [0.0, 3.0]])
    found = auroc_evidence(some, targets, list("abcd"), task="multiclass", seed=0)
    assert found.value == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_a_class_that_nobody_or_everybody_has_is_left_out():
    logits, targets, patients = made_up(40, 2)
    wide = torch.cat([targets, torch.zeros(40, 1), torch.ones(40, 1)], dim=1)
    more = torch.cat([logits, torch.randn(40, 2, generator=torch.Generator().manual_seed(0))], dim=1)
    found = auroc_evidence(more, wide, patients, task="multilabel", seed=0)
    assert found.value == pytest.approx(auroc_evidence(logits, targets, patients, task="multilabel", seed=0).value)


def test_a_resample_without_a_class_has_no_auroc_and_does_not_spoil_the_interval():
    logits, targets, patients = made_up(12, 2, scans=6)
    found = auroc_evidence(logits, targets, patients, task="multiclass", seed=0)  # two patients, one of each class
    assert 0.3 < np.isnan(found.replicates).mean() < 0.7
    assert np.isfinite(found.interval).all()


def test_two_rungs_are_compared_on_the_same_resamples():
    logits, targets, patients = made_up(80, 2)
    noisy = logits + 0.3 * torch.from_numpy(np.random.default_rng(5).normal(size=logits.shape))
    one, other = (auroc_evidence(rows, targets, patients, task="multiclass", seed=4) for rows in (logits, noisy))
    gain, low = one.beyond(other)
    assert gain == pytest.approx(one.value - other.value)
    assert low == pytest.approx(np.quantile(one.replicates - other.replicates, 0.05))
    assert one.beyond(one) == (0, 0)
    unpaired = np.quantile(one.replicates - np.random.default_rng(0).permutation(other.replicates), 0.05)
    assert low > unpaired


def test_below_is_the_reverse_of_beyond():
    good, bad = (Evidence("AUROC", v, v + np.linspace(-0.01, 0.01, 1000)) for v in (0.9, 0.6))
    assert good.beyond(bad)[1] > 0
    assert bad.below(good)
    assert not good.below(bad)
    assert not good.below(good)


def test_resamples_are_those_of_the_seed():
    logits, targets, patients = made_up(30, 2)
    one, same, other = (auroc_evidence(logits, targets, patients, task="multiclass", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.replicates, same.replicates)
    assert (one.replicates != other.replicates).any()


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Two normals one standard deviation apart have AUROC Phi(1 / sqrt 2) = 0.760."""
    inside = 0
    for trial in range(80):
        rng = np.random.default_rng(trial)
        labels = np.arange(60) % 2
        score = rng.normal(size=60) + labels
        logits = torch.from_numpy(np.stack([-score / 2, score / 2], axis=1))
        patients = [str(n) for n in range(60)]
        found = auroc_evidence(logits, torch.eye(2)[labels], patients, task="multiclass", seed=trial)
        low, high = found.interval
        inside += low <= 0.7602 <= high
    assert 69 <= inside <= 80


def test_patients_with_many_scans_widen_the_interval():
    """Ten copies of every scan say nothing new."""
    logits, targets, patients = made_up(40, 2, scans=1)
    once = auroc_evidence(logits, targets, patients, task="multiclass", seed=0)
    many = auroc_evidence(logits.repeat(10, 1), targets.repeat(10, 1), patients * 10, task="multiclass", seed=0)
    np.testing.assert_allclose(many.replicates, once.replicates)


@pytest.mark.parametrize("classes", [2, 3])
def test_agreement_is_the_mean_spearman_correlation_of_pairs_of_views(classes):
    views = [made_up(50, classes, seed=seed)[0] for seed in range(3)]
    patients = [str(n) for n in range(50)]
    found = agreement_evidence(views, patients, task="multiclass", seed=0)
    margins = [margins_by_hand(view) for view in views]
    expected = [
        spearmanr(margins[i][:, c], margins[j][:, c]).statistic
        for c in range(classes)
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert found.value == pytest.approx(np.mean(expected))
    assert found.name == "agreement"


def test_agreement_is_one_for_monotone_changes_of_a_view_and_counts_ties():
    view, _, patients = made_up(30, 2)
    assert agreement_evidence([view, view * 3], patients, task="multiclass", seed=0).value == pytest.approx(1)
    assert agreement_evidence([view, -view], patients, task="multiclass", seed=0).value == pytest.approx(-1)
    coarse = (view * 2).round()
    found = agreement_evidence([view, coarse], patients, task="multiclass", seed=0)
    expected = spearmanr(*(margins_by_hand(one)[:, 0] for one in (view, coarse))).statistic
    assert found.value == pytest.approx(expected)


def test_a_view_that_says_the_same_of_all_scans_agrees_with_none():
    view, _, patients = made_up(30, 2)
    found = agreement_evidence([view, torch.ones(30, 2)], patients, task="multiclass", seed=0)
    assert found.value == 0
    assert (found.replicates == 0).all()


def test_agreements_replicates_are_correlations_of_ranks_on_resampled_patients():
    views = [made_up(40, 2, seed=seed, strength=3)[0] for seed in range(2)]
    patients = [f"patient {n // 2}" for n in range(40)]
    found = agreement_evidence(views, patients, task="multiclass", seed=9)
    ranks = [np.argsort(np.argsort(margins_by_hand(view)[:, 0])) for view in views]
    for column in (0, 500):
        rows = redrawn(patients, column, 9)
        expected = np.corrcoef(ranks[0][rows], ranks[1][rows])[0, 1]
        assert found.replicates[column] == pytest.approx(expected)
