"""SAR: entropy minimisation on reliable scans only, towards a flat minimum, and back to the start before collapse."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from models.errors import AdaptationRefusedError
from models.test_time.adapter import bag_entropy
from models.test_time.guards import adaptable, require_batch, require_normalisation

RATE = 2.5e-4  # for a batch of 64
RADIUS = 0.05
RELIABLE = 0.4  # of ln C
RESET = 0.2 / math.log(1000)  # of ln C: the paper's 0.2 is for the 1000 classes of ImageNet
MEMORY = 0.9


class Sar:
    """Sharpness-aware steps on the entropy of reliable predictions, over scales and shifts below the last stage.

    1. Reliable are the scans with H_i < E = 0.4 ln C.
    2. g = gradient of mean H over them; theta + e with e = 0.05 g / ||g||_2, over all parameters together.
    3. At theta + e, the gradient of mean H over the reliable scans that still have H_i < E is the step's gradient;
       SGD, momentum 0.9, rate 2.5e-4 B / 64 for B scans, twice that below 32.
    4. A moving average m = 0.9 m + 0.1 mean H (of 3.) below 0.2 ln C / ln 1000 means collapse: parameters and
       momentum go back to the start. The paper's 0.2 belongs to 1000 classes, so that it is scaled like E.

    Parameters of the backbone's last stage and of what follows it stay, since they are sensitive to collapse.
    **With two classes** E is 0.277 nats, a prediction of more than 92 %: nearly all scans of a modest classifier
    are left out, and little is adapted. A step without a reliable scan changes nothing and is counted.

    To be used within `adapting`.

    Args:
        classifier: Adapted in place.

    Attributes:
        idle: Steps in which no scan was reliable.
        resets: How often the start was restored.

    Raises:
        AdaptationRefusedError: If the backbone has no normalisation layer with a scale and shift below its last stage.

    Source:
        Niu et al. 2023, Towards Stable Test-Time Adaptation in Dynamic Wild World, section 4; rates as in its code.
    """

    def __init__(self, classifier: SliceBagClassifier) -> None:
        require_normalisation(classifier.backbone)
        last = {id(parameter) for parameter in classifier.backbone.layer_groups()[-1][1]}
        self.parameters = [p for p in adaptable(classifier.backbone) if id(p) not in last]
        if not self.parameters:
            raise AdaptationRefusedError(f"{classifier.backbone.name} has no normalisation layer below its last stage")
        self.classifier = classifier
        self.optimizer = torch.optim.SGD(self.parameters, lr=RATE, momentum=0.9)
        self.start = [p.detach().clone() for p in self.parameters], copy.deepcopy(self.optimizer.state_dict())
        classes = math.log(classifier.head.out_features)
        self.reliable, self.reset_below = RELIABLE * classes, RESET * classes
        self.average: float | None = None
        self.idle = self.resets = 0

    def step(self, features: Callable[[], Tensor], mask: Tensor) -> float:
        """One step; see `Adapter.step`."""
        require_batch(int(mask.sum()))
        found = bag_entropy(self.classifier, features(), mask)
        mean = float(found.detach().mean())
        if not math.isfinite(mean):
            raise AdaptationRefusedError("the entropy of a batch is not a number")
        kept = found.detach() < self.reliable
        if not bool(kept.any()):
            self.idle += 1
            return mean
        gradients = torch.autograd.grad(found[kept].mean(), self.parameters)
        away = self._climb(list(gradients))
        self._descend(away, bag_entropy(self.classifier, features(), mask)[kept], len(mask))
        return mean

    def account(self, steps: int) -> list[str]:
        """Steps without a reliable scan, and resets."""
        notes = [f"in {self.idle} of {steps} steps no prediction was sure enough to learn from"] if self.idle else []
        return notes + ([f"went back to its start {self.resets} times"] if self.resets else [])

    @torch.no_grad()
    def _climb(self, gradients: list[Tensor]) -> list[Tensor]:
        """Go to theta + e, and return theta."""
        here = [p.clone() for p in self.parameters]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.add_(gradient, alpha=RADIUS / (float(norm) + 1e-12))
        return here

    def _descend(self, here: list[Tensor], found: Tensor, batch: int) -> None:
        """Step from theta with the gradient at theta + e."""
        kept = found.detach() < self.reliable
        self.optimizer.zero_grad()
        if bool(kept.any()):
            loss = found[kept].mean()
            loss.backward()
        self._put(here)
        if not bool(kept.any()):
            self.idle += 1
            return
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * batch / 64 * (2 if batch < 32 else 1)
        self.optimizer.step()
        value = float(loss.detach())
        self.average = value if self.average is None else MEMORY * self.average + (1 - MEMORY) * value
        if self.average < self.reset_below:
            self._put(self.start[0])
            self.optimizer.load_state_dict(copy.deepcopy(self.start[1]))
            self.average = None
            self.resets += 1

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)
