"""Alignment of a classifier to unlabelled target scans: a term beside the loss, or an operation after training."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.alignment import LOSSES, OPERATIONS
from models.alignment.loss import AlignmentLoss, DomainBatch
from models.classifier import SliceBagClassifier
from models.registry import lookup
from pipeline.config import Precision
from pipeline.learn.device import mixed
from pipeline.learn.target_stream import BATCH_SLICES, SCAN_SLICES, shuffled_batches
from pipeline.prepare.cache import SampleStore

WEIGHTS = {"coral": 30.0}  # its 1 / (4 F^2) makes it tiny on standardised features; the others are of the order of 1


class AlignmentTerm:
    """weight x alignment loss, to be added to a batch's cross-entropy.

    Args:
        loss: Of `models.alignment.LOSSES`, built.
        weight: Its weight.
    """

    def __init__(self, loss: AlignmentLoss, weight: float) -> None:
        self.module, self.weight = loss, weight

    def to(self, device: torch.device) -> "AlignmentTerm":
        """Move what the loss learns to a device, before an optimizer is made."""
        self.module.to(device)
        return self

    def parameters(self) -> list[nn.Parameter]:
        """What the loss itself learns (DANN's discriminator); empty for most."""
        return list(self.module.parameters())

    def loss(self, source_features: Tensor, target_features: Tensor, target_logits: Tensor, done: float) -> Tensor:
        """The weighted loss of one step, in float32.

        Args:
            source_features, target_features: After FeatureNorm and bag pooling, shape (B, F) and (B', F).
            target_logits: (B', L).
            done: Share of the phase that is done, 0..1.

        Returns:
            Scalar; zero where a side has too few rows for the loss to be defined, such as the one scan that an
            epoch's last batch may hold: one row says nothing about a distribution.
        """
        if min(len(source_features), len(target_features)) < self.module.least_rows:
            return 0 * (source_features.sum() + target_features.sum())
        batch = DomainBatch(source_features.float(), target_features.float(), target_logits.float(), done)
        found: Tensor = self.module(batch)
        return self.weight * found

    def state_dict(self) -> dict[str, Any]:
        """What the loss has learned, for a checkpoint."""
        return dict(self.module.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.module.load_state_dict(state)


def make_term(name: str, num_features: int, num_classes: int, weight: float | None, seed: int) -> AlignmentTerm:
    """Build the term of an alignment loss.

    Args:
        name: From `models.alignment.LOSSES`.
        num_features: F.
        num_classes: L, at least 2.
        weight: Beside the cross-entropy; None takes the method's own.
        seed: Of what the loss learns.

    Raises:
        UnknownNameError: If there is no such loss.
        ValueError: With fewer than two classes.
    """
    make = lookup("alignment loss", LOSSES, name)
    if num_classes < 2:
        raise ValueError(f"alignment {name}: {num_classes} classes, expected at least 2")
    return AlignmentTerm(make(num_features, seed), WEIGHTS.get(name, 1.0) if weight is None else weight)


def align_statistics(
    name: str,
    classifier: SliceBagClassifier,
    store: SampleStore,
    contents: Sequence[str],
    *,
    device: torch.device,
    seed: int,
    share: float = 1.0,
    precision: Precision = "float32",
) -> tuple[str, ...]:
    """Run an operation of `models.alignment.OPERATIONS` over the target's scans, streamed in shuffled batches.

    Args:
        contents: Content hashes of unlabelled target scans.
        share: 1 takes the target's statistics, less mixes with those from before.

    Returns:
        Warnings for the report.

    Raises:
        UnknownNameError: If there is no such operation.
        NoBatchNormError: For AdaBN on a backbone without batch norm.
        ModelError: If no statistics come out; the classifier is as before then.
    """
    operate = lookup("alignment operation", OPERATIONS, name)
    classifier.to(device).to(memory_format=torch.channels_last)
    seen = 0

    def batches() -> Iterator[Tensor]:
        nonlocal seen
        for bags in shuffled_batches(store, contents, seed=seed):
            seen += int(bags.mask.sum())
            yield bags.slices[bags.mask].to(device)

    with mixed(device, precision):
        operate(classifier, batches(), share=share)
    if seen < BATCH_SLICES:
        return (
            f"alignment {name}: only {seen} target slices were there to take statistics from (at most {SCAN_SLICES} "
            f"of a scan are used); below {BATCH_SLICES} they are noisy",
        )
    return ()
