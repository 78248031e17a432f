import numpy as np
import pytest
import torch
from torch import nn

from models.backbones import build_backbone
from models.stochastic_norm import stochastic_norm


def layer(channels=64):
    made = nn.BatchNorm2d(channels)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        made.weight.copy_(torch.rand(channels, generator=generator) + 0.5)
        made.bias.copy_(torch.randn(channels, generator=generator))
        made.running_mean.copy_(torch.randn(channels, generator=generator))
        made.running_var.copy_(torch.rand(channels, generator=generator) + 0.5)
    return made


def images(channels=64):
    return torch.randn(6, channels, 5, 4, generator=torch.Generator().manual_seed(2)) * 2 + 1


def by_hand(x, mean, variance, made):
    """Numpy: gamma (x - m) / sqrt(v + eps) + beta, channel by channel."""
    shape = (1, -1, 1, 1)
    scaled = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + made.eps)
    return scaled * made.weight.detach().numpy().reshape(shape) + made.bias.detach().numpy().reshape(shape)


def test_each_channel_has_batch_or_moving_statistics():
    made, x = layer(), images()
    mean, variance = made.running_mean.numpy().copy(), made.running_var.numpy().copy()
    torch.manual_seed(3)
    with stochastic_norm(made):
        found = made(x).detach().numpy()
    array = x.numpy()
    batch = by_hand(array, array.mean(axis=(0, 2, 3)), array.var(axis=(0, 2, 3)), made)
    moving = by_hand(array, mean, variance, made)
    is_batch = np.abs(found - batch).max(axis=(0, 2, 3)) < 1e-4
    is_moving = np.abs(found - moving).max(axis=(0, 2, 3)) < 1e-4
    assert (is_batch != is_moving).all()
    assert 16 < is_batch.sum() < 48  # 64 draws of a half: six standard deviations of 4 would be 8..56


def test_the_share_is_the_probability_of_the_batchs_statistics():
    made, x = layer(), images()
    plain = layer()(x)
    with stochastic_norm(made, share=1.0):
        torch.testing.assert_close(made(x), plain)
    made = layer()
    frozen = layer().eval()(x)
    with stochastic_norm(made, share=0.0):
        torch.testing.assert_close(made(x), frozen)


def test_moving_statistics_are_updated_as_by_plain_batch_norm():
    made, plain, x = layer(), layer(), images()
    plain(x)
    with stochastic_norm(made):
        made(x)
    assert torch.equal(made.running_mean, plain.running_mean)
    assert torch.equal(made.running_var, plain.running_var)
    assert made.num_batches_tracked.item() == 1


def test_evaluation_is_plain_batch_norm():
    made, x = layer().eval(), images()
    with stochastic_norm(made):
        assert torch.equal(made(x), layer().eval()(x))


def test_draws_differ_between_passes_and_follow_the_seed():
    x, results = images(), []
    for seed in (1, 1, 2):
        made = layer()
        torch.manual_seed(seed)
        with stochastic_norm(made):
            results.append(made(x))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_gradients_flow_through_both_kinds_and_inputs_are_not_harmed():
    made = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    with stochastic_norm(made):
        made(torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


@pytest.mark.parametrize("name", ["densenet121", "shufflenet_v2_x0_5"])
def test_names_and_behaviour_are_plain_again_afterwards(name):
    network = build_backbone(name)
    names, x = list(network.state_dict()), torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network.train()
    plain = network(x)
    with stochastic_norm(network):
        assert list(network.state_dict()) == names
        mixed = network(x)
    assert list(network.state_dict()) == names
    assert not torch.allclose(mixed, plain)
    torch.testing.assert_close(network(x), plain)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
