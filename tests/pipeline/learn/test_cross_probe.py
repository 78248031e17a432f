import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.learn.cross_probe import cross_validate, logistic_probe, mean_and_error
from pipeline.learn.folds import Fold, grouped_folds


def planted(n=60, width=8, classes=2, signal=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = rng.standard_normal((n, width)).astype(np.float32)
    features[:, :classes] += signal * np.eye(classes, dtype=np.float32)[labels]
    return torch.from_numpy(features), torch.eye(classes)[labels], [str(k) for k in range(n)]


@pytest.mark.parametrize("classes", [2, 3])
def test_the_default_probe_and_scikit_learns_pipeline_agree(classes):
    features, targets, patients = planted(classes=classes)
    folds = grouped_folds(targets, patients)
    found = cross_validate(features, targets, folds, logistic_probe)
    labels = targets.argmax(dim=1).numpy()
    for value, fold in zip(found, folds, strict=True):
        reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000))
        reference.fit(features.numpy()[fold.train], labels[fold.train])
        probability = reference.predict_proba(features.numpy()[fold.test])
        expected = np.mean([roc_auc_score(labels[fold.test] == c, probability[:, c]) for c in range(classes)])
        assert value == pytest.approx(expected, abs=1e-3)


def test_the_probe_is_given_training_rows_only():
    features, targets, patients = planted()
    folds = grouped_folds(targets, patients)
    calls = []

    def probe(train, labels, test):
        calls.append((train, labels, test))
        return np.stack([1 - test[:, 1], test[:, 1]], axis=1)

    found = cross_validate(features, targets, folds, probe)
    for (train, labels, test), fold, value in zip(calls, folds, found, strict=True):
        np.testing.assert_array_equal(train, features.numpy()[fold.train])
        np.testing.assert_array_equal(labels, targets.argmax(dim=1).numpy()[fold.train])
        np.testing.assert_array_equal(test, features.numpy()[fold.test])
        assert value == roc_auc_score(targets[fold.test, 1], test[:, 1])


def test_a_class_absent_from_training_has_no_say():
    targets = torch.eye(3)[[0, 1, 0, 1, 2, 0, 1]]
    features = torch.arange(7, dtype=torch.float32)[:, None]
    fold = Fold(np.array([0, 1, 2, 3]), np.array([4, 5, 6]))

    def probe(_train, labels, test):
        assert set(labels) == {0, 1}
        return np.stack([-test[:, 0], test[:, 0]], axis=1)

    # classes 0 and 1 in the test rows: row 5 is 0, row 6 is 1; scores 4, 5, 6
    expected = (roc_auc_score([0, 1, 0], [-4, -5, -6]) + roc_auc_score([0, 0, 1], [4, 5, 6])) / 2
    assert cross_validate(features, targets, [fold], probe) == (expected,)


def test_a_fold_with_one_class_only_has_no_value():
    features, targets, _ = planted(n=8)
    fold = Fold(np.array([0, 1, 2, 3]), np.array([4, 6]))
    assert math.isnan(cross_validate(features, targets, [fold], logistic_probe)[0])


def test_several_labels_have_one_probe_each():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((40, 3)).astype(np.float32))
    targets = (features > 0).float()
    fold = Fold(np.arange(30), np.arange(30, 40))
    calls = []

    def probe(_train, labels, test):
        calls.append(labels)
        column = len(calls) - 1
        return np.stack([-test[:, column], test[:, column]], axis=1)

    assert cross_validate(features, targets, [fold], probe) == (1.0,)
    for column, labels in enumerate(calls):
        np.testing.assert_array_equal(labels, targets[:30, column].numpy())


def test_mean_and_error_worked_by_hand():
    folds = [Fold(np.arange(8), np.arange(2))] * 4
    # mean .7, sample variance (.01 + 0 + 0 + .01) / 3; error^2 = (1/4 + 2/8) of it
    mean, error = mean_and_error((0.6, 0.7, 0.7, 0.8), folds)
    assert mean == pytest.approx(0.7)
    assert error == pytest.approx(math.sqrt(0.5 * 0.02 / 3))
    assert mean_and_error((0.6, 0.7, math.nan, 0.8), folds)[0] == pytest.approx(0.7)


def test_mean_and_error_of_too_little():
    folds = [Fold(np.arange(8), np.arange(2))] * 2
    assert all(math.isnan(value) for value in mean_and_error((math.nan, math.nan), folds))
    mean, error = mean_and_error((0.6, math.nan), folds)
    assert mean == 0.6
    assert math.isnan(error)


def test_the_error_is_that_of_new_data():
    """The error covers how the estimate scatters over data sets; the plain one, s / sqrt(r), does not."""
    means, errors, plain = [], [], []
    for seed in range(40):
        features, targets, patients = planted(n=40, signal=0.8, seed=seed)
        folds = grouped_folds(targets, patients, repeats=4, seed=seed)
        values = cross_validate(
            features, targets, folds, lambda _a, _b, test: np.stack([test[:, 0], test[:, 1]], axis=1)
        )
        mean, error = mean_and_error(values, folds)
        means.append(mean)
        errors.append(error)
        plain.append(np.std(values, ddof=1) / math.sqrt(len(values)))
    scatter = np.std(means, ddof=1)
    assert 0.6 < np.mean(errors) / scatter < 1.7
    assert np.mean(plain) / scatter < 0.6
