"""Rates by relative gradients in the loop: which tensors, set when, and what the optimizer keeps."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from models.strategies import STRATEGIES
from models.strategies.auto_rgn import FLOOR
from models.strategies.phase import Phase, group_names
from pipeline.learn import relative_rates
from pipeline.learn.batches import load_bags
from pipeline.learn.objective import loss_sum
from pipeline.learn.optimiser import make_optimizer, train_groups
from pipeline.learn.relative_rates import set_relative_rates
from pipeline.learn.steps import Epoch, Steps


def ready(made, **fields):
    torch.nn.init.normal_(made.classifier.head.weight, std=0.01, generator=torch.Generator().manual_seed(0))
    phase = Phase("x", group_names(made.classifier), rates_by="relative_gradient", **fields)
    train_groups(made.classifier, phase)
    return phase, make_optimizer(made.classifier, phase, made.config), Epoch(phase, 0, 0, 1)


def test_every_tensor_but_batch_norms_is_a_group(bench):
    made = bench()
    _, optimizer, _ = ready(made)
    norms = {id(p) for m in made.classifier.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    assert all(len(group["params"]) == 1 for group in optimizer.param_groups)
    held = {id(group["params"][0]) for group in optimizer.param_groups}
    assert held == {id(p) for p in made.classifier.parameters()} - norms
    assert not any(p.requires_grad for p in made.classifier.parameters() if id(p) in norms)


def test_peaks_are_base_times_the_relative_gradient_over_the_largest(bench):
    """Four scans in one batch: the mean over batches is that batch's, taken here by autograd in one piece."""
    made = bench(train=4, batch_size=4, augment="none")
    _, optimizer, epoch = ready(made)
    fit = made.fit()
    set_relative_rates(fit.steps, epoch, optimizer)
    bags = load_bags(made.train.store, made.train.contents, range(4))
    total, divisor = loss_sum(made.classifier(bags.slices, bags.mask), made.train.targets, fit.weights, "multiclass")
    tensors = [group["params"][0] for group in optimizer.param_groups]
    found = torch.autograd.grad(total / divisor, tensors)
    quotient = [
        float(g.norm()) / max(float(p.detach().norm()), FLOOR * p.numel() ** 0.5)
        for g, p in zip(found, tensors, strict=True)
    ]
    expected = [1e-3 * value / max(quotient) for value in quotient]
    assert [group["peak"] for group in optimizer.param_groups] == pytest.approx(expected, rel=1e-2)
    assert max(group["peak"] for group in optimizer.param_groups) == pytest.approx(1e-3)
    assert all(p.grad is None for p in tensors)


def test_five_batches_are_looked_at(bench, monkeypatch):
    made, sizes = bench(train=26, batch_size=4), []
    _, optimizer, epoch = ready(made)
    real = Steps.backward

    def watched(self, slices, bags):
        sizes.append(len(bags.index))
        return real(self, slices, bags)

    monkeypatch.setattr(Steps, "backward", watched)
    set_relative_rates(made.fit().steps, epoch, optimizer)
    assert sizes == [4] * 5


def test_no_weight_and_no_statistic_changes(bench):
    made = bench()
    _, optimizer, epoch = ready(made)
    before = made.state()
    set_relative_rates(made.fit().steps, epoch, optimizer)
    assert all(torch.equal(before[key], value) for key, value in made.state().items())


def test_rates_are_set_every_epoch_and_adam_keeps_its_moments(bench, monkeypatch):
    made, seen = bench(epochs=3), []
    real = relative_rates.set_relative_rates

    def watched(steps, epoch, optimizer):
        counts = {int(state["step"]) for state in optimizer.state.values()}
        real(steps, epoch, optimizer)
        seen.append((counts, [group["peak"] for group in optimizer.param_groups]))

    monkeypatch.setattr("pipeline.learn.fit.set_relative_rates", watched)
    phases = STRATEGIES["auto_rgn"](made.classifier)
    made.fit().run([phases[0], phases[-1]])
    assert [counts for counts, _ in seen] == [set(), {3}, {6}]
    assert seen[0][1] != seen[1][1] != seen[2][1]
