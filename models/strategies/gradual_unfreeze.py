"""Gradual unfreezing: the top first, then one more stage an epoch, lower ones more slowly."""

from models.classifier import SliceBagClassifier
from models.strategies.linear_probe import linear_probe
from models.strategies.phase import Phase, backbone_groups, group_names

FACTOR = 2.6


def gradual_unfreeze(classifier: SliceBagClassifier) -> list[Phase]:
    """The probe's phases, then all groups, of which one more joins each epoch, from the top.

    eta_(l-1) = eta_l / 2.6 (discriminative rates; the new layers have the full one), a slanted triangular schedule
    over the whole phase, and patience that counts from the epoch in which all have joined. With fewer epochs than
    groups more than one joins an epoch, so that the last epoch trains all. Batch norm of frozen groups, and here of
    all, keeps its statistics.

    Source:
        Howard & Ruder 2018, Universal Language Model Fine-tuning for Text Classification, sections 3.2 and 3.3.
    """
    top = classifier.top_groups()
    downward = backbone_groups(classifier)[::-1]
    rates = dict.fromkeys(top, 1.0) | {name: FACTOR**-depth for depth, name in enumerate(downward, start=1)}
    phase = Phase(
        name="unfreeze",
        groups=tuple(name for name in group_names(classifier) if name in rates),
        rates=rates,
        schedule="triangular",
        unfreeze=(top, *((name,) for name in downward)),
    )
    return [*linear_probe(classifier), phase]
