"""Linear probe: a frozen backbone, a linear classifier on its pooled features."""

from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase

PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


def linear_probe(classifier: SliceBagClassifier) -> list[Phase]:
    """Logistic regression on standardised features, with its penalty chosen on validation data.

    Minimises mean cross-entropy of softmax(W z + b) + lambda/2 ||W||^2 for lambda from strong to weak. A weaker
    penalty is taken only if it lowers the validation loss by more than one standard error of that loss: among
    models that validate alike, the simpler one travels better. Over bags of slices the attention pooling is
    trained with it.

    Source:
        Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes; the one-standard-error
        rule of Breiman et al. 1984, Classification and Regression Trees, section 3.4.3.
    """
    return [
        Phase(
            name=f"probe {penalty:g}",
            groups=classifier.top_groups(),
            cached=True,
            optimizer="lbfgs",
            weight_decay=penalty,
            epochs=1,
            beyond_noise=True,
        )
        for penalty in PENALTIES
    ]
