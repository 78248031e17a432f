"""What a fine-tuning strategy is made of: phases, each saying what is trained and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from models.classifier import SliceBagClassifier


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of training. The loop obeys it and knows no strategy by name.

    Attributes:
        name: For logs and the learning curve.
        groups: Layer groups that are trained; all others stay as they are, bit for bit.
        cached: Whether the backbone is frozen, so that features are computed once and reused.
        optimizer: `lbfgs` takes full-batch steps (convex heads), `adamw` steps over batches.
        learning_rate: Peak rate; None takes the configuration's.
        rates: Group to factor on the learning rate; 1 where absent.
        weight_decay: L2 penalty lambda/2 ||w||^2 on weight matrices (`lbfgs`) or decoupled decay (`adamw`).
        batch_norm: `eval` keeps running statistics frozen, `train` uses and updates batch statistics.
        epochs: Most epochs; None takes the configuration's.
        beyond_noise: Whether its state is kept only if the validation loss is lower by more than one standard error.
        start: `random` resets the backbone to random weights first.
    """

    name: str
    groups: tuple[str, ...]
    cached: bool = False
    optimizer: Literal["adamw", "lbfgs"] = "adamw"
    learning_rate: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    batch_norm: Literal["eval", "train"] = "eval"
    epochs: int | None = None
    beyond_noise: bool = False
    start: Literal["pretrained", "random"] = "pretrained"


Strategy = Callable[[SliceBagClassifier], list[Phase]]


def group_names(classifier: SliceBagClassifier) -> tuple[str, ...]:
    """All layer groups of a classifier, from stem to top."""
    return tuple(name for name, _ in classifier.layer_groups())
