"""StochNorm: batch norm that uses moving statistics in some channels while it trains."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

SHARE = 0.5


@contextlib.contextmanager
def stochastic_norm(network: nn.Module, share: float = SHARE) -> Iterator[None]:
    """Within the context, every batch norm in training mode draws its statistics channel by channel.

    z = gamma ((1 - s) (x - m) / sqrt(v + eps) + s (x - mu) / sqrt(sigma^2 + eps)) + beta

    with s ~ Bernoulli(share) for each channel and each pass, mu and sigma^2 of the batch, m and v the moving
    statistics before this batch, which are then updated as usual. In evaluation mode only m and v are used. The
    layers stay what they are, and so do the names in their state dict.

    Args:
        network: Its batch-norm layers are hooked, and released at the end.
        share: Probability of the batch's statistics.

    Source:
        Kou et al. 2020, Stochastic Normalization, section 3 (share 0.5).
    """
    moving: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def before(layer: nn.Module, _inputs: tuple[Tensor, ...]) -> None:
        if not isinstance(layer, _BatchNorm) or not layer.training:
            return
        if layer.running_mean is not None and layer.running_var is not None:
            moving[layer] = layer.running_mean.clone(), layer.running_var.clone()

    def after(layer: nn.Module, inputs: tuple[Tensor, ...], by_batch: Tensor) -> Tensor:
        if layer not in moving or not isinstance(layer, _BatchNorm):
            return by_batch
        mean, variance = moving.pop(layer)
        by_moving = functional.batch_norm(
            inputs[0], mean, variance, layer.weight, layer.bias, training=False, eps=layer.eps
        )
        chosen = torch.rand(len(mean)) < share  # on the CPU, so that a seed means the same on every device
        shape = (1, -1) + (1,) * (by_batch.ndim - 2)
        return torch.where(chosen.to(by_batch.device).view(shape), by_batch, by_moving)

    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    handles = [layer.register_forward_pre_hook(before) for layer in layers]
    handles += [layer.register_forward_hook(after) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
