import pytest
import torch

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.strategies.l2_sp import l2_sp, starting_point_penalty


def build(pooling="mean"):
    classifier = SliceBagClassifier(build_backbone("shufflenet_v2_x0_5"), 2, pooling=pooling)
    start = {name: p.detach().clone() for name, p in classifier.backbone.named_parameters()}
    return classifier, start


def test_the_penalty_by_hand():
    """Two backbone weights moved by 3 and 4, a head with four twos: 0.1 / 2 (9 + 16 + 16) = 2.05."""
    classifier, start = build()
    name = next(iter(start))
    with torch.no_grad():
        flat = dict(classifier.backbone.named_parameters())[name].view(-1)
        flat[0] += 3
        flat[1] -= 4
        classifier.head.weight[0, :4] = 2
    assert float(starting_point_penalty(classifier, start, 0.1).detach()) == pytest.approx(2.05, rel=1e-5)


def test_its_gradient_pulls_the_backbone_to_its_start_and_the_head_to_zero():
    classifier, start = build("attention")
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(1)
    starting_point_penalty(classifier, start, 0.01).backward()
    for name, parameter in classifier.backbone.named_parameters():
        torch.testing.assert_close(parameter.grad, 0.01 * (parameter - start[name]).detach())
    for module in (classifier.pooling, classifier.head):
        for parameter in module.parameters():
            torch.testing.assert_close(parameter.grad, 0.01 * parameter.detach())


def test_what_is_not_trained_has_no_part_in_it():
    classifier, start = build()
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(1)
    classifier.requires_grad_(False)
    assert float(starting_point_penalty(classifier, start, 0.01)) == 0


def test_running_statistics_have_no_part_in_it():
    classifier, start = build()
    for name, buffer in classifier.named_buffers():
        if name.endswith("running_mean"):
            buffer.add_(100)
    assert float(starting_point_penalty(classifier, start, 0.01).detach()) == 0


def test_there_is_no_decay_beside_it():
    (phase,) = l2_sp(build()[0])
    assert (phase.weight_decay, phase.anchor) == (0.0, 0.01)
