"""AdaBN and the refit of FeatureNorm: the statistics of what was shown, nothing else changed."""

import numpy as np
import pytest
import torch
from torch import nn

from models.alignment import OPERATIONS
from models.alignment.adabn import adabn, batch_norms, feature_statistics, recompute_statistics
from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.errors import ModelError, NoBatchNormError

LAYERS = {1: (nn.BatchNorm1d, (6,)), 2: (nn.BatchNorm2d, (4, 6)), 3: (nn.BatchNorm3d, (2, 4, 6))}


def build(name="mobilenet_v2"):
    return SliceBagClassifier(build_backbone(name), 2, pooling="mean")


def slices(count=12, seed=0, gain=1.0, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 64, 64, generator=generator) * gain + offset


def snapshot(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def differing(before, network):
    return {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("dimensions", LAYERS)
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_statistics_are_the_mean_over_batches_mixed_with_those_before(dimensions, share):
    kind, tail = LAYERS[dimensions]
    layer = kind(3)
    layer.running_mean.fill_(10.0)
    layer.running_var.fill_(4.0)
    rng = np.random.default_rng(0)
    batches = [rng.normal(2, 3, (5, 3, *tail[1:], tail[0]) if dimensions > 1 else (5, 3)) for _ in range(4)]
    recompute_statistics(layer, layer, [torch.tensor(b, dtype=torch.float32) for b in batches], share=share)
    axes = (0, *range(2, batches[0].ndim))
    mean = np.mean([b.mean(axis=axes) for b in batches], axis=0)
    variance = np.mean([b.var(axis=axes, ddof=1) for b in batches], axis=0)
    assert np.allclose(layer.running_mean.numpy(), (1 - share) * 10 + share * mean, atol=1e-5)
    assert np.allclose(layer.running_var.numpy(), (1 - share) * 4 + share * variance, atol=1e-4)


def test_an_upper_layer_sees_what_the_lower_one_makes_of_the_batch():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    batch = torch.tensor(np.random.default_rng(1).normal(7, 5, (50, 2)), dtype=torch.float32)
    recompute_statistics(network, network, [batch])
    assert network[1].running_mean.abs().max() < 1e-5
    assert torch.allclose(network[1].running_var, torch.full((2,), 50 / 49), atol=1e-3)


def test_only_running_statistics_change_and_modes_are_put_back():
    classifier = build()
    classifier.train()
    classifier.backbone.stages["stem"].eval()
    modes = [module.training for module in classifier.modules()]
    before = snapshot(classifier)
    adabn(classifier, slices().split(6))
    found = differing(before, classifier)
    layers = len(batch_norms(classifier))
    assert len(found) == 3 * layers
    assert all(key.endswith(("running_mean", "running_var", "num_batches_tracked")) for key in found)
    assert [module.training for module in classifier.modules()] == modes
    assert all(layer.momentum == 0.1 for layer in batch_norms(classifier))


def test_dropout_stays_off():
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(1))
    recompute_statistics(network, network, [torch.ones(40, 1)])
    assert float(network[1].running_mean) == 1.0


def test_a_changed_gain_of_the_scanner_is_undone():
    """Features of darker images move away and come back with their own statistics."""
    classifier = build()
    source, target = slices(64), slices(64, seed=1, gain=0.4, offset=0.5)
    adabn(classifier, source.split(16))
    classifier.eval()

    def centre(images):
        with torch.no_grad():
            return classifier.features(images).mean(dim=0)

    home = centre(source)
    away = float((centre(target) - home).norm())
    adabn(classifier, target.split(16))
    assert float((centre(target) - home).norm()) < 0.5 * away


@pytest.mark.parametrize("batches", [[], [torch.full((4, 1, 64, 64), float("nan"))]])
@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_to_learn_from_is_an_error_and_changes_nothing(name, batches):
    classifier = build()
    before = snapshot(classifier)
    with pytest.raises(ModelError, match="statistic"):
        OPERATIONS[name](classifier, batches)
    assert not differing(before, classifier)


def test_an_interruption_leaves_the_statistics_as_they_were():
    classifier = build()
    before = snapshot(classifier)

    def batches():
        yield slices(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adabn(classifier, batches())
    assert not differing(before, classifier)
    assert all(layer.momentum == 0.1 for layer in batch_norms(classifier))


@pytest.mark.parametrize("name", ["squeezenet1_1", "convnext_tiny", "vgg11"])
def test_a_network_without_batch_norm_is_named(name):
    with pytest.raises(NoBatchNormError, match=name):
        adabn(build(name), [slices(2)])


@pytest.mark.parametrize("share", [1.0, 0.25])
@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_feature_statistics_are_those_of_the_features(name, share):
    classifier = build(name)
    classifier.norm.mean.fill_(0.5)
    classifier.norm.std.fill_(2.0)
    before = snapshot(classifier)
    images = slices(10)
    feature_statistics(classifier, images.split([4, 6]), share=share)
    classifier.eval()
    with torch.no_grad():
        features = classifier.features(images).double().numpy()
    floor = classifier.norm.FLOOR * features.std(axis=0).mean()
    std = np.maximum(features.std(axis=0), floor)
    assert np.allclose(classifier.norm.mean.numpy(), (1 - share) * 0.5 + share * features.mean(axis=0), atol=1e-5)
    assert np.allclose(classifier.norm.std.numpy(), (1 - share) * 2 + share * std, atol=1e-5)
    assert differing(before, classifier) == {"norm.mean", "norm.std"}
