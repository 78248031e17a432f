"""Loss, class weights and the probabilities that belong to them, for one label a scan or several."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config import Task


def class_weights(targets: Tensor, task: Task) -> Tensor:
    """Weights that make every class count alike.

    multiclass: w_c = n / (L n_c), for the loss of a scan of class c.
    multilabel: w_c = (n - n_c) / n_c, for the positive term of finding c.

    Args:
        targets: Indicators (n, L).
    """
    n, labels = targets.shape
    count = targets.sum(dim=0).clamp(min=1)
    return n / (labels * count) if task != "multilabel" else ((n - count) / count).clamp(0.05, 20)


def loss_sum(logits: Tensor, targets: Tensor, weights: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """Weighted cross-entropy (multiclass) or binary cross-entropy (multilabel), summed, and what to divide it by.

    multiclass: sum_i w_{y_i} (-log p_{i,y_i}) and sum_i w_{y_i}.
    multilabel: sum_{ic} [-w_c t_{ic} log p_{ic} - (1 - t_{ic}) log(1 - p_{ic})] and B L.

    Args:
        logits: (B, L).
        targets: Indicators (B, L).
        weights: Of `class_weights`.
    """
    if task == "multilabel":
        total = functional.binary_cross_entropy_with_logits(
            logits, targets.to(logits.dtype), pos_weight=weights, reduction="sum"
        )
        return total, torch.tensor(float(targets.numel()), device=logits.device)
    labels = targets.argmax(dim=1)
    total = functional.cross_entropy(logits, labels, weight=weights, reduction="sum")
    return total, weights[labels].sum()


def row_losses(logits: Tensor, targets: Tensor, weights: Tensor, task: Task) -> Tensor:
    """Each row's share of the mean loss, (n,): their mean is the quotient of what `loss_sum` returns.

    multiclass: n w_{y_i} (-log p_{i,y_i}) / sum_j w_{y_j}; multilabel: the mean over the row's labels.
    """
    if task == "multilabel":
        entries = functional.binary_cross_entropy_with_logits(
            logits, targets.to(logits.dtype), pos_weight=weights, reduction="none"
        )
        return entries.mean(dim=1)
    labels = targets.argmax(dim=1)
    rows = functional.cross_entropy(logits, labels, weight=weights, reduction="none")
    return rows * len(rows) / weights[labels].sum()


def probabilities(logits: Tensor, task: Task, temperature: float = 1.0, bias: Sequence[float] = ()) -> Tensor:
    """Softmax (multiclass) or sigmoid (multilabel) of logits / temperature + bias, (B, L).

    Args:
        bias: One number a class, or none; where a class is rarer than in training, log of the ratio of its shares.
    """
    scaled = logits / temperature
    if len(bias):
        scaled = scaled + torch.tensor(bias, dtype=scaled.dtype, device=scaled.device)
    return torch.sigmoid(scaled) if task == "multilabel" else scaled.softmax(dim=-1)


def anomaly_score(probability: Tensor) -> Tensor:
    """Probability of anything but normal, 1 - p_normal, (B,)."""
    return 1 - probability[..., 0]
