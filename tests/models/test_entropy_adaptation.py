"""TENT and SAR: what they change, by which steps, and what they refuse."""

import math

import pytest
import torch
from torch import nn

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.errors import AdaptationRefusedError
from models.test_time import TEST_TIME
from models.test_time.adapter import adapting, entropy
from models.test_time.guards import adaptable, collapse, require_shuffled
from models.test_time.sar import Sar
from models.test_time.tent import Tent

MASK = torch.ones(64, 1, dtype=torch.bool)


def build(name="shufflenet_v2_x0_5", classes=3, spread=0.1):
    classifier = SliceBagClassifier(build_backbone(name), classes, pooling="mean")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        classifier.head.weight.normal_(0, spread, generator=generator)
        with adapting(classifier, []):  # features as they are with the batch's own statistics
            classifier.norm.fit(classifier.features(images()).detach())
    return classifier.train()


def images(seed=0):
    return torch.rand(64, 1, 64, 64, generator=torch.Generator().manual_seed(seed))


def run(adapter, steps=1):
    """Steps on one batch."""
    batch = images()
    with adapting(adapter.classifier, adapter.parameters):
        return [adapter.step(lambda: adapter.classifier.features(batch), MASK) for _ in range(steps)]


def changed(before, classifier):
    return {key for key, value in classifier.state_dict().items() if not torch.equal(value, before[key])}


def snapshot(classifier):
    return {key: value.clone() for key, value in classifier.state_dict().items()}


def affine_keys(classifier):
    return {
        f"{name}.{kind}"
        for name, module in classifier.backbone.named_modules(prefix="backbone")
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm)
        for kind in ("weight", "bias")
    }


def test_entropy_of_even_and_of_sure_predictions_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.9, 0.1], [1.0, 1e-30]]))
    expected = [math.log(2), -0.9 * math.log(0.9) - 0.1 * math.log(0.1), 0]
    assert entropy(logits).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "convnext_tiny"])
def test_tent_changes_scales_and_shifts_and_nothing_else(name):
    classifier = build(name)
    before = snapshot(classifier)
    run(Tent(classifier))
    found = changed(before, classifier)
    assert found <= affine_keys(classifier)
    assert len(found) > 0.9 * len(affine_keys(classifier))


def test_sar_changes_scales_and_shifts_below_the_last_stage():
    classifier = build()
    before = snapshot(classifier)
    run(Sar(classifier))
    found = changed(before, classifier)
    allowed = {key for key in affine_keys(classifier) if not key.startswith("backbone.stages.stage4")}
    assert found <= allowed
    assert len(found) > 0.9 * len(allowed)


def test_sar_leaves_the_norm_above_the_last_stage():
    classifier = build("convnext_tiny", spread=0.1)
    before = snapshot(classifier)
    run(Sar(classifier))
    found = changed(before, classifier)
    assert found
    assert not {key for key in found if key.startswith(("backbone.neck", "backbone.stages.stage4"))}


@pytest.mark.parametrize(("make", "share"), [(Tent, 0.95), (Sar, 0.99)])
def test_entropy_falls(make, share):
    found = run(make(build()), steps=12)
    assert found[-1] < share * found[0]


def test_tents_first_step_is_adams():
    """Adam's first step is the rate times the sign of the gradient, wherever that is not tiny."""
    classifier = build()
    tent = Tent(classifier)
    with adapting(classifier, tent.parameters):
        loss = entropy(classifier(images()[:, None], MASK)).mean()
        gradients = torch.autograd.grad(loss, tent.parameters)
    before = [p.detach().clone() for p in tent.parameters]
    run(tent)
    for old, gradient, new in zip(before, gradients, tent.parameters, strict=True):
        large = gradient.abs() > 1e-5
        assert torch.allclose((new.detach() - old)[large], -1e-3 * gradient.sign()[large], atol=1e-5)


def test_sars_first_step_is_the_gradient_at_the_sharp_point_of_the_reliable_scans():
    """Written out: filter, climb 0.05 along the normed gradient, filter again, step from the start."""
    classifier = build()
    sar = Sar(classifier)
    start = [p.detach().clone() for p in sar.parameters]
    threshold = 0.4 * math.log(3)
    with adapting(classifier, sar.parameters):
        first = entropy(classifier(images()[:, None], MASK))
        reliable = first.detach() < threshold
        gradients = torch.autograd.grad(first[reliable].mean(), sar.parameters)
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        with torch.no_grad():
            for parameter, gradient in zip(sar.parameters, gradients, strict=True):
                parameter += 0.05 * gradient / norm
        second = entropy(classifier(images()[:, None], MASK))[reliable]
        again = second.detach() < threshold
        sharp = torch.autograd.grad(second[again].mean(), sar.parameters)
        with torch.no_grad():
            for parameter, value in zip(sar.parameters, start, strict=True):
                parameter.copy_(value)
    assert 3 < int(reliable.sum()) < 61, "the made-up batch must have both kinds"
    run(sar)
    for old, gradient, new in zip(start, sharp, sar.parameters, strict=True):
        assert torch.allclose(new.detach(), old - 2.5e-4 * gradient, atol=1e-8)
    assert sar.average == pytest.approx(float(second[again].mean().detach()), rel=1e-5)


def test_sars_thresholds_are_those_of_its_number_of_classes():
    thousand, two = Sar(build(classes=1000)), Sar(build(classes=2))
    assert (thousand.reliable, thousand.reset_below) == pytest.approx((0.4 * math.log(1000), 0.2))
    assert two.reliable == pytest.approx(0.2773, abs=1e-4)
    assert two.reset_below == pytest.approx(0.0201, abs=1e-4)


def test_sar_without_a_reliable_scan_changes_nothing_and_says_so():
    classifier = build(classes=2, spread=0.01)
    before, sar = snapshot(classifier), Sar(classifier)
    run(sar, steps=3)
    assert not changed(before, classifier)
    assert sar.idle == 3
    assert "in 3 of 4 steps" in sar.account(4)[0]


def test_sar_goes_back_to_its_start_before_it_collapses():
    classifier = build(classes=2, spread=30.0)
    before, sar = snapshot(classifier), Sar(classifier)
    run(sar)
    assert sar.resets == 1
    assert sar.average is None
    assert not changed(before, classifier)


@pytest.mark.parametrize("name", TEST_TIME)
def test_modes_flags_and_running_statistics_are_as_before(name):
    classifier = build()
    classifier.head.weight.requires_grad_(False)
    modes = [module.training for module in classifier.modules()]
    flags = [parameter.requires_grad for parameter in classifier.parameters()]
    run(TEST_TIME[name](classifier))
    assert [module.training for module in classifier.modules()] == modes
    assert [parameter.requires_grad for parameter in classifier.parameters()] == flags
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.track_running_stats for norm in norms)
    assert all(int(norm.num_batches_tracked) == 0 for norm in norms)


@pytest.mark.parametrize("name", TEST_TIME)
@pytest.mark.parametrize("backbone", ["squeezenet1_1", "vgg11"])
def test_a_network_without_normalisation_is_refused_by_name(name, backbone):
    with pytest.raises(AdaptationRefusedError, match=backbone):
        TEST_TIME[name](SliceBagClassifier(build_backbone(backbone), 2, pooling="mean"))


def test_sar_refuses_a_network_whose_norms_are_all_at_the_top():
    with pytest.raises(AdaptationRefusedError, match="below its last stage"):
        Sar(SliceBagClassifier(build_backbone("shufflenet_v2_x0_5@stem"), 2, pooling="mean"))


@pytest.mark.parametrize("name", TEST_TIME)
def test_a_small_batch_is_refused(name):
    classifier = build()
    before, adapter = snapshot(classifier), TEST_TIME[name](classifier)
    with adapting(classifier, adapter.parameters), pytest.raises(AdaptationRefusedError, match="63 slices"):
        adapter.step(lambda: classifier.features(images()[:63]), MASK[:63])
    assert not changed(before, classifier)


@pytest.mark.parametrize("name", TEST_TIME)
def test_scans_that_are_not_numbers_are_refused(name):
    classifier = build()
    before, adapter = snapshot(classifier), TEST_TIME[name](classifier)
    with adapting(classifier, adapter.parameters), pytest.raises(AdaptationRefusedError, match="not a number"):
        adapter.step(lambda: classifier.features(images() * math.nan), MASK)
    assert not changed(before, classifier)


@pytest.mark.parametrize(
    ("index", "refused"), [(range(64), True), ([3, 7, 20], True), ([7, 3, 20], False), ([5], False)]
)
def test_a_batch_in_the_order_of_arrival_is_refused(index, refused):
    if refused:
        with pytest.raises(AdaptationRefusedError, match="shuffle"):
            require_shuffled(torch.tensor(index))
    else:
        require_shuffled(torch.tensor(index))


@pytest.mark.parametrize("kind", [nn.BatchNorm1d(4), nn.BatchNorm3d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4)])
def test_norms_of_all_kinds_are_found(kind):
    assert len(adaptable(nn.Sequential(nn.Linear(4, 4), kind))) == 2


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([0.5, 0.5], [0.6, 0.4], ""),
        ([0.5, 0.5], [0.79, 0.21], ""),
        ([0.5, 0.5], [0.81, 0.19], "moved from 50% to 81%"),
        ([0.9, 0.1], [0.96, 0.04], "takes 96%"),
        ([0.97, 0.03], [0.99, 0.01], ""),
        ([0.4, 0.3, 0.3], [0.7, 0.3, 0.0], ""),
        ([0.6, 0.2, 0.2], [0.2, 0.4, 0.4], "class 0 moved from 60% to 20%"),
    ],
)
def test_collapse_is_a_class_that_takes_all_or_a_share_that_jumps(before, after, words):
    found = collapse(torch.tensor(before, dtype=torch.double), torch.tensor(after, dtype=torch.double))
    assert words in found
    assert bool(found) == bool(words)
