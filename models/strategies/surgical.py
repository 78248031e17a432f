"""Surgical fine-tuning: one block of the network adapts, the rest stays."""

import math

from models.classifier import SliceBagClassifier
from models.strategies.linear_probe import linear_probe
from models.strategies.phase import Phase, backbone_groups

THIRDS = ("first", "middle", "last")


def surgical_first(classifier: SliceBagClassifier) -> list[Phase]:
    """Only the first third of the backbone, after a probe: for shifts of the input, such as noise or blur."""
    return _surgical(classifier, 0)


def surgical_middle(classifier: SliceBagClassifier) -> list[Phase]:
    """Only the middle third of the backbone, after a probe: for shifts of features, such as another subgroup."""
    return _surgical(classifier, 1)


def surgical_last(classifier: SliceBagClassifier) -> list[Phase]:
    """Only the last third of the backbone, after a probe: for shifts towards the output."""
    return _surgical(classifier, 2)


def thirds(groups: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Groups from stem to top in three stretches of nearly equal count, the longer ones first.

    Of n groups, third k holds those from ceil(k n / 3) up to ceil((k + 1) n / 3): of a ResNet's five, stem and
    layer1, layer2 and layer3, layer4. Of one or two groups, thirds share what there is.
    """
    n = len(groups)

    def third(k: int) -> tuple[str, ...]:
        start = min(math.ceil(k * n / 3), n - 1)
        return groups[start : max(start + 1, math.ceil((k + 1) * n / 3))]

    return third(0), third(1), third(2)


def _surgical(classifier: SliceBagClassifier, k: int) -> list[Phase]:
    """The probe's phases, then one third at the full rate, batch norm in evaluation mode, the head as it is.

    Source:
        Lee et al. 2023, Surgical Fine-Tuning Improves Adaptation to Distribution Shifts (Adam, decay 1e-4).
    """
    block = thirds(backbone_groups(classifier))[k]
    return [*linear_probe(classifier), Phase(name=f"{THIRDS[k]} third", groups=block, weight_decay=1e-4)]
