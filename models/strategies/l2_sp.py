"""L2-SP: fine-tuning that is pulled back to the pretrained weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase, group_names

STRENGTH = 0.01


def l2_sp(classifier: SliceBagClassifier) -> list[Phase]:
    """Full fine-tuning with the penalty of `starting_point_penalty` and no other weight decay.

    Source:
        Li, Grandvalet & Davoine 2018, Explicit Inductive Bias for Transfer Learning with Convolutional Networks;
        strength 0.01 for both parts and the new layers' tenfold rate as in Jiang et al., Transfer Learning Library.
    """
    return [
        Phase(
            name="L2-SP",
            groups=group_names(classifier),
            rates=dict.fromkeys(classifier.top_groups(), 10.0),
            weight_decay=0.0,
            anchor=STRENGTH,
        )
    ]


def starting_point_penalty(classifier: SliceBagClassifier, start: Mapping[str, Tensor], strength: float) -> Tensor:
    """A scalar: strength / 2 (||w - w0||^2 over the backbone + ||v||^2 over the new layers), of what is trained.

    Running statistics of batch norm are no parameters and have no part in it.

    Args:
        classifier: Holds w and v.
        start: w0, by the backbone's parameter names.
        strength: alpha and beta of the paper.
    """
    total = torch.zeros((), device=classifier.head.weight.device)
    for name, parameter in classifier.backbone.named_parameters():
        if parameter.requires_grad:
            total = total + (parameter - start[name]).square().sum()
    for module in (classifier.pooling, classifier.head):
        for parameter in module.parameters():
            if parameter.requires_grad:
                total = total + parameter.square().sum()
    return strength / 2 * total
