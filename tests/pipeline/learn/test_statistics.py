"""Batch norm's statistics from the training scans: in a phase of its own, and for averages of weights."""

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from models.classifier import FeatureNorm
from models.strategies import STRATEGIES
from models.strategies.norms import statistics_phase
from pipeline.errors import DivergedError
from pipeline.learn import statistics
from pipeline.learn.batches import load_bags
from pipeline.learn.features import extract
from pipeline.learn.statistics import recompute_on

CPU = torch.device("cpu")


def test_the_first_layers_statistics_by_hand(bench):
    """All twelve images are one batch."""
    made = bench(train=12)
    recompute_on(made.classifier, made.train, made.config, CPU)
    bags = load_bags(made.train.store, made.train.contents, range(12))
    stem = made.classifier.backbone.stages["stem"]
    convolution = next(m for m in stem.modules() if isinstance(m, torch.nn.Conv2d))
    norm = next(m for m in stem.modules() if isinstance(m, _BatchNorm))
    with torch.no_grad():
        maps = convolution(made.classifier.normalise(bags.slices[:, 0])).numpy()
    np.testing.assert_allclose(norm.running_mean, maps.mean(axis=(0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(norm.running_var, maps.var(axis=(0, 2, 3), ddof=1), rtol=1e-3)


@pytest.mark.parametrize(("cases", "stride"), [(100, 1), (12, 2), (5, 3)])
def test_of_many_scans_a_part_is_looked_at(bench, monkeypatch, cases, stride):
    made, seen = bench(train=12), []
    monkeypatch.setattr(statistics, "CASES", cases)
    real = statistics.shuffled_batches

    def watched(store, contents, *, seed):
        seen.extend(contents)
        return real(store, contents, seed=seed)

    monkeypatch.setattr(statistics, "shuffled_batches", watched)
    recompute_on(made.classifier, made.train, made.config, CPU)
    assert tuple(seen) == made.train.contents[::stride]


def test_a_statistic_that_is_no_number_is_an_error(bench):
    made = bench()
    before = made.state()
    with torch.no_grad():
        next(made.classifier.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="a statistic is not a number"):
        recompute_on(made.classifier, made.train, made.config, CPU)
    statistic = next(key for key in before if key.endswith("running_mean"))
    assert torch.equal(made.state()[statistic], before[statistic])


def test_the_phase_changes_statistics_only_and_the_probe_sees_the_new_features(bench):
    made = bench(train=12)
    before = made.state()
    fit = made.fit()
    fit.run([statistics_phase(), STRATEGIES["linear_probe"](made.classifier)[0]])
    state = made.state()
    for name, _ in made.classifier.backbone.named_parameters():
        assert torch.equal(state[f"backbone.{name}"], before[f"backbone.{name}"])
    assert all(
        not torch.equal(value, before[key]) for key, value in state.items() if key.endswith(("running_mean", "_var"))
    )
    bags = extract(made.classifier, made.train.store, made.train.contents, device=CPU)
    assert torch.equal(fit.frozen.both()[0].features, bags.features)
    expected = FeatureNorm([bags.features.shape[2]])
    expected.fit(bags.features[bags.mask])
    torch.testing.assert_close(state["norm.mean"], expected.mean)
