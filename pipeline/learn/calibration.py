"""Temperature scaling: one number that makes confidence honest without moving the ranking."""

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from pipeline.config import Task

LOG_RANGE = (-3.0, 3.0)


def mean_nll(logits: Tensor, targets: Tensor, task: Task, temperature: float) -> float:
    """Mean negative log-likelihood of logits / temperature.

    Args:
        logits: (n, L).
        targets: Indicators (n, L).
    """
    scaled = logits.double() / temperature
    if task == "multilabel":
        return float(functional.binary_cross_entropy_with_logits(scaled, targets.double()))
    return float(functional.cross_entropy(scaled, targets.argmax(dim=1)))


def fit_temperature(logits: Tensor, targets: Tensor, task: Task) -> float:
    """The temperature T in [e^-3, e^3] that minimises the mean negative log-likelihood of softmax(logits / T).

    Source:
        Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    found = minimize_scalar(
        lambda log_t: mean_nll(logits, targets, task, float(np.exp(log_t))), bounds=LOG_RANGE, method="bounded"
    )
    return float(torch.tensor(float(found.x)).exp())
