"""Training from random weights: the comparison that shows what pretraining is worth."""

from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase, group_names


def from_scratch(classifier: SliceBagClassifier) -> list[Phase]:
    """Random weights, all groups, batch-norm statistics learned, a ten times higher rate than fine-tuning.

    Source:
        Yang et al. 2023, MedMNIST v2 (training from scratch with Adam at 1e-3).
    """
    return [
        Phase(
            name="from scratch",
            groups=group_names(classifier),
            learning_rate=1e-3,
            batch_norm="train",
            start="random",
        )
    ]
