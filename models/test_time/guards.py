"""When adaptation without labels must not be done, and how its collapse is seen."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.backbones import Backbone
from models.errors import AdaptationRefusedError

NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)
LEAST_SLICES = 64
DOMINANT = 0.95
MOVED = 0.3


def adaptable(module: nn.Module) -> list[nn.Parameter]:
    """Scales and shifts of all normalisation layers (batch, group, layer norm of any dimension) in a module."""
    layers = [layer for layer in module.modules() if isinstance(layer, NORMS)]
    return [parameter for layer in layers for parameter in layer.parameters(recurse=False)]


def require_normalisation(backbone: Backbone) -> None:
    """Refuse a network in which there is nothing to adapt.

    Raises:
        AdaptationRefusedError: If no normalisation layer has a scale and shift; the message names the network.
    """
    if not adaptable(backbone):
        raise AdaptationRefusedError(
            f"{backbone.name} has no normalisation layer with a scale and shift, so there is nothing to adapt; take "
            "a backbone that has (densenet169, mobilenet_v2, convnext_tiny), or test_time=none"
        )


def require_shuffled(index: Tensor) -> None:
    """Refuse a batch in the order of arrival.

    Args:
        index: Place of each scan of the batch in the archive, shape (B,).

    Raises:
        AdaptationRefusedError: If they ascend: sorted by patient or finding, a batch may be one class.
    """
    if len(index) > 1 and bool((index.diff() > 0).all()):
        raise AdaptationRefusedError("scans come in their own order, in which a batch may be one class; shuffle them")


def require_batch(slices: int) -> None:
    """Refuse a batch whose statistics are noise.

    Raises:
        AdaptationRefusedError: With fewer than 64 slices.
    """
    if slices < LEAST_SLICES:
        raise AdaptationRefusedError(f"a batch of {slices} slices, needed are at least {LEAST_SLICES}; add scans")


def collapse(before: Tensor, after: Tensor) -> str:
    """What is wrong with the predicted class mix after adaptation, or an empty text.

    Wrong is a class that takes more than 95 % and did not before, and a class whose share moved by more than 0.3.

    Args:
        before, after: Shares of predicted classes, shape (L,), each summing to 1.
    """
    for name, share in enumerate(after.tolist()):
        was = float(before[name])
        if share > DOMINANT >= was:
            return f"class {name} takes {share:.0%} of the predictions, before {was:.0%}"
        if abs(share - was) > MOVED:
            return f"the share of class {name} moved from {was:.0%} to {share:.0%}"
    return ""
