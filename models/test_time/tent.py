"""TENT: scales and shifts of the normalisation layers are moved so that predictions become sure."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from models.errors import AdaptationRefusedError
from models.test_time.adapter import bag_entropy
from models.test_time.guards import adaptable, require_batch, require_normalisation

RATE = 1e-3


class Tent:
    """One Adam step a batch on the mean entropy of the predictions, over normalisation scales and shifts only.

    loss = mean_i H_i,  H_i = -sum_c p_ic log p_ic

    Rate 1e-3, betas 0.9 and 0.999, no weight decay. To be used within `adapting`, which makes batch norm use the
    batch's own statistics; most of what TENT gains is due to these. Its minimum is one sure class for everything:
    small, sorted or imbalanced batches lead there.

    Args:
        classifier: Adapted in place.

    Raises:
        AdaptationRefusedError: If the backbone has no normalisation layer with a scale and shift.

    Source:
        Wang et al. 2021, Tent: Fully Test-Time Adaptation by Entropy Minimization, section 3.
    """

    def __init__(self, classifier: SliceBagClassifier) -> None:
        require_normalisation(classifier.backbone)
        self.classifier = classifier
        self.parameters = adaptable(classifier.backbone)
        self.optimizer = torch.optim.Adam(self.parameters, lr=RATE, betas=(0.9, 0.999), weight_decay=0)

    def step(self, features: Callable[[], Tensor], mask: Tensor) -> float:
        """One step; see `Adapter.step`."""
        require_batch(int(mask.sum()))
        self.optimizer.zero_grad()
        loss = bag_entropy(self.classifier, features(), mask).mean()
        found = float(loss.detach())
        if not math.isfinite(found):
            raise AdaptationRefusedError("the entropy of a batch is not a number")
        loss.backward()
        self.optimizer.step()
        return found

    def account(self, steps: int) -> list[str]:
        """Nothing to tell."""
        return []
