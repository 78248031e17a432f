"""How good a classifier is on the validation set."""

import math
from dataclasses import dataclass

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from models.classifier import SliceBagClassifier
from pipeline.config import Config
from pipeline.errors import DivergedError
from pipeline.learn.batches import iterate
from pipeline.learn.features import FeatureBags
from pipeline.learn.objective import probabilities, row_losses
from pipeline.learn.parts import MICRO_SLICES, cut, pooled
from pipeline.learn.ranks import current_ranks
from pipeline.learn.sets import LabelledSet


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures on the validation set.

    Attributes:
        loss: Mean loss.
        auroc: Macro AUROC.
        error: Standard error of the loss.
    """

    loss: float
    auroc: float
    error: float


@torch.no_grad()
def validate(
    classifier: SliceBagClassifier,
    val: LabelledSet,
    *,
    cached: FeatureBags | None,
    weights: Tensor,
    config: Config,
    device: torch.device,
) -> Figures:
    """Measure a classifier, from features that are at hand or by running the network.

    Args:
        classifier: Is left in evaluation mode.
        val: The validation set.
        cached: Its features, where the backbone is as it was when they were computed.
        weights: Of `class_weights`, on the CPU.
        config: Task and precision.
        device: Where the network runs.

    Raises:
        DivergedError: If a logit is not a number.
    """
    classifier.eval()
    if cached is None:
        logits = forward(classifier, val, config, device)
    else:
        logits = classifier.classify(cached.features.to(device), cached.mask.to(device)).cpu()
    if not bool(logits.isfinite().all()):
        raise DivergedError("validation: a logit is not a number")
    rows = row_losses(logits, val.targets, weights, config.task)
    auroc = macro_auroc(probabilities(logits, config.task), val.targets)
    error = float(rows.std(correction=0)) / math.sqrt(len(rows))
    return Figures(*current_ranks().agree((float(rows.mean()), auroc, error)))


def forward(classifier: SliceBagClassifier, scans: LabelledSet, config: Config, device: torch.device) -> Tensor:
    """Logits (n, L), on the CPU, in the precision of training; each rank computes its share of the rows."""
    ranks, (n, labels) = current_ranks(), scans.targets.shape
    mine = ranks.share(n)
    size = max(1, MICRO_SLICES // scans.store.preparation.slices)
    parts = [
        classifier.head(pooled(classifier, part, device, config.precision)).cpu()
        for bags in iterate(scans.store, scans.contents, range(mine.start, mine.stop), size)
        for part in cut(bags.slices, bags.mask)
    ]
    return ranks.gather(torch.cat([torch.zeros(0, labels), *parts]), n)


def macro_auroc(probability: Tensor, targets: Tensor) -> float:
    """Mean over the classes of the one-versus-rest AUROC; classes that all or no rows have are left out.

    Returns:
        The mean, or 0.5 if no class can be measured.
    """
    values = [
        float(roc_auc_score(targets[:, c].numpy(), probability[:, c].numpy()))
        for c in range(targets.shape[1])
        if 0 < int(targets[:, c].sum()) < len(targets)
    ]
    return sum(values) / len(values) if values else 0.5
