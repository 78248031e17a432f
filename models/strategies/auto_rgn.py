"""Auto-RGN: each tensor learns as fast as its gradient is large beside its weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.classifier import SliceBagClassifier
from models.strategies.linear_probe import linear_probe
from models.strategies.phase import Phase, group_names

FLOOR = 1e-3


def auto_rgn(classifier: SliceBagClassifier) -> list[Phase]:
    """The probe's phases, then everything but batch norm, each tensor at its own rate, set anew every epoch.

    eta_l = eta RGN_l / max_k RGN_k, with RGN_l the mean over five batches; see `relative_gradients`. Adam keeps its
    moments from epoch to epoch (the authors' code makes a new optimizer and drops them). Without the probe the
    new head's gradient would outweigh all others.

    Source:
        Lee et al. 2023, Surgical Fine-Tuning Improves Adaptation to Distribution Shifts, section 4.
    """
    phase = Phase(name="auto-rgn", groups=group_names(classifier), rates_by="relative_gradient", weight_decay=1e-4)
    return [*linear_probe(classifier), phase]


def relative_gradients(parameters: Sequence[nn.Parameter]) -> Tensor:
    """RGN_l = ||g_l|| / max(||w_l||, 0.001 sqrt(n_l)) of each tensor with n_l entries, shape (P,).

    The floor, an entry's size of 0.001, is ours: the quotient of a bias that starts at zero is infinite, and still
    so large after a step that every other rate would vanish beside it.
    """
    gradients = torch.stack(
        [p.grad.norm() if p.grad is not None else torch.zeros((), device=p.device) for p in parameters]
    )
    sizes = torch.stack([p.detach().norm().clamp(min=FLOOR * p.numel() ** 0.5) for p in parameters])
    return gradients / sizes


def rate_factors(batches: Sequence[Tensor]) -> Tensor:
    """Mean of RGN (P,) over batches, divided by its maximum, so that the largest factor is 1; zeros stay zeros."""
    mean = torch.stack(list(batches)).mean(dim=0)
    return mean / mean.max().clamp(min=torch.finfo(mean.dtype).tiny)
