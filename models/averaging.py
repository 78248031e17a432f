"""Averages of two networks' weights."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor


def interpolate(
    first: Mapping[str, Any], second: Mapping[str, Any], share: float, parameters: Collection[str]
) -> dict[str, Any]:
    """The point between two networks: theta = (1 - share) theta_first + share theta_second, tensor by tensor.

    Only parameters are averaged. Running statistics are not: an average of two networks has activations that neither
    had, and integer counters have no average. They are taken from `second`; recompute them if they were trained.

    Args:
        first, second: State dicts of one architecture, fine-tuned from one start.
        share: 0 gives `first`, 1 gives `second`.
        parameters: Names of the tensors to average.

    Source:
        Wortsman et al. 2022, Robust fine-tuning of zero-shot models, eq. 1.
    """
    merged: dict[str, Any] = {}
    for name, value in second.items():
        start = first[name]
        merged[name] = start.lerp(value, share) if name in parameters and isinstance(value, Tensor) else value.clone()
    return merged
