"""Linear probe: a frozen backbone, a linear classifier on its pooled features."""

from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase

PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


def linear_probe(classifier: SliceBagClassifier) -> list[Phase]:
    """Logistic regression on standardised features, with its penalty chosen on validation data.

    Minimises mean cross-entropy of softmax(W z + b) + lambda/2 ||W||^2 for lambda from strong to weak, each
    phase starting from the one before; the state with the best validation AUROC of all is kept.
    Over bags of slices the attention pooling is trained with it.

    Source:
        Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes.
    """
    return [
        Phase(
            name=f"probe {penalty:g}",
            groups=classifier.top_groups(),
            cached=True,
            optimizer="lbfgs",
            weight_decay=penalty,
            epochs=1,
        )
        for penalty in PENALTIES
    ]
