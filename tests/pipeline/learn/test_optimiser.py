import math

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase
from pipeline.config import Config
from pipeline.learn.optimiser import make_optimizer, set_rate, slanted_triangle, train_groups

ALL = ("stem", "stage2", "stage3", "stage4", "pooling", "head")


@pytest.fixture
def classifier():
    return SliceBagClassifier(build_backbone("shufflenet_v2_x0_5"), 2, pooling="attention")


@pytest.mark.parametrize(
    ("done", "factor"),
    [
        (0.0, 0.0),
        (0.05, 0.5),
        (0.1, 1.0),
        (0.325, (1 + math.sqrt(0.5)) / 2),
        (0.55, 0.5),
        (1.0, 0.0),
        (1.3, 0.0),
    ],
)
def test_warm_up_and_cosine_by_hand(classifier, done, factor):
    train_groups(classifier, Phase("x", ALL, rates={"stem": 0.1}))
    optimizer = make_optimizer(classifier, Phase("x", ALL, rates={"stem": 0.1}), Config(learning_rate=0.01))
    set_rate(optimizer, done)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert max(rates) == pytest.approx(0.01 * factor, abs=1e-12)
    assert min(rates) == pytest.approx(0.001 * factor, abs=1e-12)


def test_every_group_has_its_rate_and_only_matrices_decay(classifier):
    phase = Phase("x", ALL, rates={"head": 10.0}, weight_decay=0.3)
    train_groups(classifier, phase)
    optimizer = make_optimizer(classifier, phase, Config(learning_rate=0.01))
    rate, decay = {}, {}
    for group in optimizer.param_groups:
        rate |= {id(p): group["lr"] for p in group["params"]}
        decay |= {id(p): group["weight_decay"] for p in group["params"]}
    assert len(rate) == len(list(classifier.parameters())) == sum(len(g["params"]) for g in optimizer.param_groups)
    for name, parameter in classifier.named_parameters():
        assert rate[id(parameter)] == pytest.approx(0.1 if name.startswith("head.") else 0.01)
        assert decay[id(parameter)] == (0.3 if parameter.ndim > 1 else 0.0)


def test_the_phases_own_rate_goes_before_the_configurations(classifier):
    phase = Phase("x", ("head",), learning_rate=0.5)
    train_groups(classifier, phase)
    assert {g["lr"] for g in make_optimizer(classifier, phase, Config()).param_groups} == {0.5}


@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_only_the_groups_of_the_phase_are_trained(classifier, optimizer):
    phase = Phase("x", ("stage4", "head"), optimizer=optimizer)
    train_groups(classifier, phase)
    for name, parameters in classifier.layer_groups():
        assert all(p.requires_grad is (name in phase.groups) for p in parameters)
    held = {id(p) for group in make_optimizer(classifier, phase, Config()).param_groups for p in group["params"]}
    assert held == {id(p) for p in classifier.parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("phase", "learning"),
    [
        (Phase("x", ALL), set()),
        (Phase("x", ("head",), cached=True), set()),
        (Phase("x", ALL, batch_norm="train"), {"stem", "stage2", "stage3", "stage4"}),
        (Phase("x", ("stage4", "head"), batch_norm="train"), {"stage4"}),
    ],
)
def test_batch_norm_learns_statistics_only_where_the_phase_trains_it(classifier, phase, learning):
    classifier.train()
    train_groups(classifier, phase)
    for name, stage in classifier.backbone.stages.items():
        layers = [module for module in stage.modules() if isinstance(module, _BatchNorm)]
        assert layers
        assert all(layer.training is (name in learning) for layer in layers)


def test_rates_reach_adam(classifier):
    """The first AdamW step is the rate itself, whatever the gradient's size."""
    phase = Phase("x", ("head",), weight_decay=0.0)
    train_groups(classifier, phase)
    optimizer = make_optimizer(classifier, phase, Config(learning_rate=0.01))
    set_rate(optimizer, 0.1)
    (classifier.head.weight.sum() * 1e-3).backward()
    optimizer.step()
    torch.testing.assert_close(
        classifier.head.weight, torch.full_like(classifier.head.weight, -0.01), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize(
    ("done", "factor"), [(0.0, 1 / 32), (0.05, 33 / 64), (0.1, 1.0), (0.55, 33 / 64), (1.0, 1 / 32), (1.2, 1 / 32)]
)
def test_the_slanted_triangle_by_hand(done, factor):
    """Halfway up or down, p = 1/2: (1 + 31 / 2) / 32 = 33 / 64."""
    assert slanted_triangle(done) == pytest.approx(factor)


def test_a_phase_has_the_schedule_that_it_names(classifier):
    phase = Phase("x", ("head",))
    train_groups(classifier, phase)
    optimizer = make_optimizer(classifier, phase, Config(learning_rate=0.01))
    set_rate(optimizer, 0.0, "triangular")
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 / 32)


def test_groups_that_have_not_joined_are_frozen_though_the_optimizer_holds_them(classifier):
    phase = Phase("x", ALL, batch_norm="train")
    train_groups(classifier, phase)
    optimizer = make_optimizer(classifier, phase, Config(learning_rate=0.01))
    train_groups(classifier, phase, ("stage4", "head"))
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    logits = classifier(torch.rand(2, 2, 1, 64, 64), torch.ones(2, 2, dtype=torch.bool))
    (logits**2).sum().add(classifier.head.bias.sum()).backward()
    set_rate(optimizer, 0.1)
    optimizer.step()
    moved = {name.split(".")[2] for name, p in classifier.named_parameters() if "stages" in name and p.grad is not None}
    assert moved <= {"stage4"}
    frozen = [name for name, p in classifier.named_parameters() if not p.requires_grad]
    assert any(".stem." in name for name in frozen)
    assert all(torch.equal(before[name], dict(classifier.named_parameters())[name]) for name in frozen)


def test_what_a_term_learns_has_the_heads_rate_and_no_decay(classifier):
    phase, own = Phase("x", ALL, rates={"head": 10.0}), torch.nn.Parameter(torch.ones(3, 3))
    train_groups(classifier, phase)
    optimizer = make_optimizer(classifier, phase, Config(learning_rate=0.01), [own])
    (group,) = [group for group in optimizer.param_groups if any(p is own for p in group["params"])]
    assert (group["peak"], group["weight_decay"]) == (0.1, 0.0)
