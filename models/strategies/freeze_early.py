"""Freezing the early stages: generic edges and textures stay, later stages and the head adapt."""

from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase, group_names


def freeze_early(classifier: SliceBagClassifier) -> list[Phase]:
    """Fine-tune the upper half of the backbone's groups and the head; the lower half stays bit for bit.

    Source:
        Yosinski et al. 2014, How transferable are features in deep neural networks?
    """
    names = group_names(classifier)
    top = classifier.top_groups()
    backbone = names[: len(names) - len(top)]
    trained = backbone[(len(backbone) + 1) // 2 :]
    return [Phase(name="upper half", groups=(*trained, *top), rates=dict.fromkeys(top, 10.0))]
