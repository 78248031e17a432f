"""What a fine-tuning strategy is made of: phases, each saying what is trained and how."""

import math
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
        objective: `supervised`; `self_supervised`: on unlabelled scans, by `pipeline.learn.self_supervised`;
            `statistics`: nothing is trained, batch norm takes the statistics of the training scans.
        cached: Whether the backbone is frozen, so that features are computed once and reused.
        optimizer: `lbfgs` takes full-batch steps (convex heads), `adamw` steps over batches.
        learning_rate: Peak rate; None takes the configuration's.
        rates: Group to factor on the learning rate; 1 where absent.
        rates_by: `relative_gradient` sets each tensor's rate anew at every epoch's start, and leaves batch norm be.
        schedule: `cosine` with a warm-up, or `triangular` (slanted: a short rise, a long fall).
        unfreeze: Groups that join one entry an epoch, the first entry first; empty trains all from the start.
        weight_decay: L2 penalty lambda/2 ||w||^2 on weight matrices (`lbfgs`) or decoupled decay (`adamw`).
        anchor: Strength of the pull of the backbone to its first weights and of the new layers to zero (L2-SP).
        batch_norm: `eval` keeps running statistics frozen, `train` uses batch statistics and updates the running
            ones, `stochastic` uses either at random, channel by channel, and updates them too.
        epochs: Most epochs; None takes the configuration's.
        beyond_noise: Whether its state is kept only if the validation loss is lower by more than one standard error.
            Such phases in a row are a path from simple to complex, which ends when two of them lower nothing.
        start: `random` resets the backbone to random weights first, `probe` goes back to the last cached phase's end.
        merge: What becomes of its best weights: `interpolate` takes a point between the probe's and them, `soup`
            averages them with those of the other `soup` phases where that validates no worse.
        merge_share: How far from the probe `interpolate` goes, 0..1.
    """

    name: str
    groups: tuple[str, ...]
    objective: Literal["supervised", "self_supervised", "statistics"] = "supervised"
    cached: bool = False
    optimizer: Literal["adamw", "lbfgs"] = "adamw"
    learning_rate: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    rates_by: Literal["group", "relative_gradient"] = "group"
    schedule: Literal["cosine", "triangular"] = "cosine"
    unfreeze: tuple[tuple[str, ...], ...] = ()
    weight_decay: float = 0.01
    anchor: float = 0.0
    batch_norm: Literal["eval", "train", "stochastic"] = "eval"
    epochs: int | None = None
    beyond_noise: bool = False
    start: Literal["pretrained", "random", "probe"] = "pretrained"
    merge: Literal["none", "interpolate", "soup"] = "none"
    merge_share: float = 0.5

    def trained(self, epoch: int, epochs: int) -> tuple[str, ...]:
        """Groups that are trained in an epoch (from 0) of so many: in time for all to have joined in the last one."""
        if not self.unfreeze:
            return self.groups
        count = max(epoch + 1, math.ceil((epoch + 1) * len(self.unfreeze) / epochs))
        return tuple(name for entry in self.unfreeze[:count] for name in entry)


Strategy = Callable[[SliceBagClassifier], list[Phase]]


def group_names(classifier: SliceBagClassifier) -> tuple[str, ...]:
    """All layer groups of a classifier, from stem to top."""
    return tuple(name for name, _ in classifier.layer_groups())


def backbone_groups(classifier: SliceBagClassifier) -> tuple[str, ...]:
    """The backbone's layer groups that have parameters, from stem to top."""
    return tuple(name for name, parameters in classifier.backbone.layer_groups() if parameters)
