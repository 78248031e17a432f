"""The ladder's probe against scikit-learn written out, and that held-out logits really are held out."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from pipeline.learn.folds import grouped_folds
from pipeline.learn.ladder.probe import fit_probe, held_out_logits, pooled

WIDTHS = (3, 6, 9)
SCALES = np.repeat([(512 / (3 * width)) ** 0.5 for width in WIDTHS], WIDTHS)


def made_up(n, classes, seed=0):
    """Features that say something of the label, in units of their own; labels 0..classes-1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    rows = rng.normal(size=(n, 18)) + 0.8 * np.eye(18)[labels]
    return torch.from_numpy(rows * rng.uniform(0.1, 30, 18) + 5).float(), torch.eye(classes)[labels], labels


def standardised(features):
    x = features.double().numpy()
    return (x - x.mean(axis=0)) / x.std(axis=0) * SCALES


def regression(z, labels, weights=None):
    return LogisticRegression(C=0.01, class_weight="balanced", max_iter=5000, tol=1e-8).fit(z, labels, weights)


def test_two_classes_are_one_logistic_regression_on_stages_that_count_alike():
    features, targets, labels = made_up(60, 2)
    logits = fit_probe(features, targets, WIDTHS, "multiclass").logits(features)
    z = standardised(features)
    expected = regression(z, labels).decision_function(z)
    np.testing.assert_allclose((logits[:, 1] - logits[:, 0]).numpy(), expected, atol=2e-2)
    np.testing.assert_allclose(logits.sum(dim=1).numpy(), 0, atol=1e-4)


def test_three_classes_are_a_softmax_regression():
    features, targets, labels = made_up(60, 3)
    logits = fit_probe(features, targets, WIDTHS, "multiclass").logits(features)
    z = standardised(features)
    expected = regression(z, labels).predict_proba(z)
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), expected, atol=5e-3)


def test_several_labels_are_one_regression_each():
    features, targets, _ = made_up(60, 3)
    targets[::4, 2] = 1
    logits = fit_probe(features, targets, WIDTHS, "multilabel").logits(features)
    z = standardised(features)
    for c in range(3):
        expected = regression(z, targets[:, c].numpy()).decision_function(z)
        np.testing.assert_allclose(logits[:, c].numpy(), expected, atol=2e-2)


def test_a_finding_that_a_fold_lacks_is_left_undecided():
    features, targets, _ = made_up(20, 3)
    targets[:, 1] = 0
    logits = fit_probe(features, targets, WIDTHS, "multilabel").logits(features)
    assert (logits[:, 1] == 0).all()
    assert (logits[:, 0] != 0).any()


def test_a_class_that_is_absent_gets_the_least_of_all_logits():
    """A class with no scan to learn from must not shift the other classes' columns."""
    features, targets, labels = made_up(30, 4)
    there = labels != 1
    logits = fit_probe(features[there], targets[there], WIDTHS, "multiclass").logits(features[there])
    assert logits.shape == (int(there.sum()), 4)
    found = logits.softmax(dim=1).numpy()
    z = standardised(features[there])
    np.testing.assert_allclose(found[:, [0, 2, 3]], regression(z, labels[there]).predict_proba(z), atol=5e-3)
    assert found[:, 1].max() < 1e-3


def test_pooled_sites_count_half_each():
    many, few = made_up(80, 2, seed=1), made_up(20, 2, seed=2)
    features, targets, weights = pooled((many[0], many[1]), (few[0], few[1]))
    assert weights[:80].sum() == pytest.approx(10)
    assert weights[80:].sum() == pytest.approx(10)
    probe = fit_probe(features, targets, WIDTHS, "multiclass", weights)
    logits = probe.logits(features)
    z = standardised(features)
    labels = np.concatenate([many[2], few[2]])
    expected = regression(z, labels, np.repeat([20 / 160, 0.5], [80, 20])).decision_function(z)
    np.testing.assert_allclose((logits[:, 1] - logits[:, 0]).numpy(), expected, atol=2e-2)


@pytest.mark.parametrize(("classes", "task"), [(2, "multiclass"), (3, "multiclass"), (3, "multilabel")])
def test_in_a_classifier_it_gives_the_same_logits_bag_by_bag(classes, task):
    classifier = SliceBagClassifier(build_backbone("shufflenet_v2_x0_5@all"), classes, pooling="mean", seed=0)
    rng = torch.Generator().manual_seed(0)
    bags = torch.randn(12, 3, classifier.backbone.num_features, generator=rng) * 4 + 2
    targets = torch.eye(classes)[torch.arange(12) % classes]
    probe = fit_probe(bags.mean(dim=1), targets, classifier.backbone.widths, task)
    before = {name for name, _ in classifier.named_parameters()} | {name for name, _ in classifier.named_buffers()}
    assert set(probe.state()) <= before
    classifier.load_state_dict(probe.state(), strict=False)
    with torch.inference_mode():
        found = classifier.classify(bags, torch.ones(12, 3, dtype=torch.bool))
    torch.testing.assert_close(found, probe.logits(bags.mean(dim=1)), atol=1e-3, rtol=1e-3)


def test_standardised_by_other_scans_undoes_their_offset_and_gain():
    features, targets, _ = made_up(60, 2)
    there = 3 * features - 7
    probe = fit_probe(features, targets, WIDTHS, "multiclass")
    moved = probe.standardised_by(there, WIDTHS)
    torch.testing.assert_close(moved.logits(there), probe.logits(features), atol=1e-3, rtol=1e-3)


def test_held_out_logits_never_see_the_patient():
    """A patient's scans carry a mark that gives the label away, another for each: of no use on other patients."""
    rng = np.random.default_rng(0)
    patients = [f"patient {n // 4}" for n in range(120)]
    labels = np.array([n // 4 % 2 for n in range(120)])
    rows = rng.normal(size=(120, 48)) * 0.01
    rows[np.arange(120), np.arange(120) // 4] = 1  # a one-hot of the patient
    features, targets = torch.from_numpy(rows).float(), torch.eye(2)[labels]
    fitted = fit_probe(features, targets, (48,), "multiclass").logits(features)[:, 1]
    held = held_out_logits(features, targets, patients, (48,), "multiclass", seed=0, repeats=3)[:, 1]
    leaked = held_out_logits(features, targets, [str(n) for n in range(120)], (48,), "multiclass", seed=0)[:, 1]
    assert roc_auc_score(labels, fitted) > 0.95
    assert roc_auc_score(labels, leaked) > 0.95
    assert roc_auc_score(labels, held) < 0.75


def test_held_out_logits_are_those_of_each_folds_probe():
    features, targets, _ = made_up(40, 2)
    patients = [f"patient {n // 2}" for n in range(40)]
    found = held_out_logits(features, targets, patients, WIDTHS, "multiclass", seed=5, repeats=2)
    expected = torch.zeros(40, 2)
    for fold in grouped_folds(targets, patients, folds=5, repeats=2, seed=5):
        assert not {patients[n] for n in fold.train} & {patients[n] for n in fold.test}
        probe = fit_probe(features[fold.train], targets[fold.train], WIDTHS, "multiclass")
        expected[fold.test] += probe.logits(features[fold.test]) / 2
    torch.testing.assert_close(found, expected)


def test_source_scans_go_into_every_fold_with_half_the_weight():
    features, targets, _ = made_up(40, 2)
    source = made_up(90, 2, seed=4)
    patients = [str(n) for n in range(40)]
    known = (source[0], source[1])
    found = held_out_logits(features, targets, patients, WIDTHS, "multiclass", seed=5, with_source=known)
    fold = grouped_folds(targets, patients, folds=5, seed=5)[0]
    x = torch.cat([source[0], features[fold.train]])
    y = torch.cat([source[1], targets[fold.train]])
    weights = torch.tensor([len(fold.train) / 180] * 90 + [0.5] * len(fold.train))
    expected = fit_probe(x, y, WIDTHS, "multiclass", weights).logits(features[fold.test])
    torch.testing.assert_close(found[fold.test], expected)
