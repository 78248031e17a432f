"""LP-FT: linear probe first, then fine-tuning of everything from the probe's head."""

from models.classifier import SliceBagClassifier
from models.strategies.linear_probe import linear_probe
from models.strategies.phase import Phase, group_names


def lp_ft(classifier: SliceBagClassifier) -> list[Phase]:
    """The probe's phases, then all groups, the backbone at a tenth of the rate, batch-norm statistics frozen.

    A head that already fits keeps the first gradients small, so that features are not distorted out of
    distribution; too high a rate undoes that.

    Source:
        Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution.
    """
    names = group_names(classifier)
    backbone = names[: len(names) - len(classifier.top_groups())]
    return [
        *linear_probe(classifier),
        Phase(name="fine-tune", groups=names, rates=dict.fromkeys(backbone, 0.1)),
    ]
