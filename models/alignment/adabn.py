"""AdaBN: batch norm's running statistics are those of the target, and the same for the features' standardisation.

Operations on a trained classifier, not losses: no weight changes.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.classifier import SliceBagClassifier
from models.errors import ModelError, NoBatchNormError


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """All batch-norm layers (1D, 2D, 3D) that keep running statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def require_batch_norm(network: nn.Module, name: str) -> list[_BatchNorm]:
    """The batch-norm layers of a network.

    Raises:
        NoBatchNormError: If there is none; the message names the network.
    """
    found = batch_norms(network)
    if not found:
        raise NoBatchNormError(
            f"{name} has no batch norm, so AdaBN has nothing to recompute; take a backbone that has "
            "(densenet169, mobilenet_v2, resnet18), or an alignment loss"
        )
    return found


def recompute_statistics(
    network: nn.Module, forward: Callable[[Tensor], object], batches: Iterable[Tensor], *, share: float = 1.0
) -> None:
    """Recompute all running statistics from batches, each batch counting alike.

    mean = (1 - share) mean_before + share / n sum_b mean_b, and the same for the variance, where mean_b and var_b
    (unbiased) are batch b's. Batches are normalised by their own statistics on the way up; only batch norm is in
    training mode, so that dropout is not. Modes and momenta are put back.

    Args:
        network: Holds the batch-norm layers.
        forward: Runs the network on a batch.
        batches: Batches of about one size, shuffled: a batch of one class gives that class's statistics.
        share: 1 takes the batches' statistics, 0 keeps those from before.

    Raises:
        ModelError: If there is no batch or a statistic is not a number; the statistics are as before then.

    Source:
        Li et al. 2017, Revisiting Batch Normalization for Practical Domain Adaptation (all of the target); Nado et
        al. 2020, Evaluating Prediction-Time Batch Normalization; mixing as in Schneider et al. 2020, Improving
        robustness against common corruptions by covariate shift adaptation, eq. 1.
    """
    layers = batch_norms(network)
    before = [{key: value.clone() for key, value in layer.state_dict().items()} for layer in layers]
    count, sound = 0, False
    try:
        with _cumulative(network, layers), torch.no_grad():
            for batch in batches:
                forward(batch)
                count += 1
        sound = count > 0 and all(bool(v.isfinite().all()) for layer in layers for v in layer.state_dict().values())
    finally:
        for layer, old in zip(layers, before, strict=True):
            if not sound:
                layer.load_state_dict(old)
            elif layer.running_mean is not None and layer.running_var is not None:
                layer.running_mean.lerp_(old["running_mean"], 1 - share)
                layer.running_var.lerp_(old["running_var"], 1 - share)
    if not sound:
        raise ModelError(
            f"batch norm: {'a statistic is not a number' if count else 'no batch to take statistics from'}"
        )


@contextlib.contextmanager
def _cumulative(network: nn.Module, layers: list[_BatchNorm]) -> Iterator[None]:
    """Reset the layers and let them, and nothing else, gather a cumulative average; then put modes and momenta back."""
    modes = [(module, module.training) for module in network.modules()]
    momenta = [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes:
            module.training = mode


def adabn(classifier: SliceBagClassifier, batches: Iterable[Tensor], *, share: float = 1.0) -> None:
    """Give the backbone's batch norms the statistics of slices (M, 1 or 3, H, W) in [0, 1]; see `recompute_statistics`.

    Raises:
        NoBatchNormError: If the backbone has no batch norm.
    """
    require_batch_norm(classifier.backbone, classifier.backbone.name)
    recompute_statistics(classifier.backbone, classifier.features, batches, share=share)


def feature_statistics(classifier: SliceBagClassifier, batches: Iterable[Tensor], *, share: float = 1.0) -> None:
    """Refit the classifier's FeatureNorm on slices of the target, for any backbone.

    mean = (1 - share) mean_before + share mean_target, and the same for the standard deviation: what AdaBN does,
    for the one standardisation that every classifier has, between the backbone and the head.

    Args:
        batches: Slices (M, 1 or 3, H, W) in [0, 1].

    Raises:
        ModelError: If there is no slice or a feature is not a number; the statistics are as before then.
    """
    was_training = classifier.training
    classifier.eval()
    total = square = torch.zeros(classifier.norm.mean.shape, dtype=torch.float64)
    count = 0
    with torch.no_grad():
        for batch in batches:
            found = classifier.features(batch).double().cpu()
            total, square, count = total + found.sum(dim=0), square + found.square().sum(dim=0), count + len(found)
    classifier.train(was_training)
    if count == 0 or not bool(square.isfinite().all()):
        raise ModelError("feature statistics: no scan, or a feature that is not a number")
    mean = total / count
    std = (square / count - mean.square()).clamp(min=0).sqrt()
    old_mean, old_std = classifier.norm.mean.clone(), classifier.norm.std.clone()
    classifier.norm.take(mean, std)
    classifier.norm.mean.lerp_(old_mean, 1 - share)
    classifier.norm.std.lerp_(old_std, 1 - share)
