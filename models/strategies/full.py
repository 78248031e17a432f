"""Full fine-tuning: all weights from the first step, with a new head."""

from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase, group_names


def full(classifier: SliceBagClassifier) -> list[Phase]:
    """Cross-entropy over all weights; the new head and pooling learn ten times faster than the backbone.

    Source:
        Doerrich et al. 2025 (MedMNIST+ protocol): AdamW, 1e-4, cosine decay, early stopping; the factor of
        ten between head and backbone is that of Jiang et al., Transfer Learning Library.
    """
    return [
        Phase(
            name="full",
            groups=group_names(classifier),
            rates=dict.fromkeys(classifier.top_groups(), 10.0),
        )
    ]
