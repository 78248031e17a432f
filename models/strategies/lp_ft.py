"""LP-FT: linear probe first, then fine-tuning of everything from the probe's head."""

from models.classifier import SliceBagClassifier
from models.strategies.linear_probe import linear_probe
from models.strategies.phase import Phase, group_names


def lp_ft(classifier: SliceBagClassifier) -> list[Phase]:
    """The probe's phases, then all groups at the configured rate with batch-norm statistics frozen.

    A head that already fits keeps the first gradients small, so that features are not distorted out of
    distribution.

    Source:
        Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution.
    """
    return [*linear_probe(classifier), Phase(name="fine-tune", groups=group_names(classifier))]
