"""Which parameters a phase trains, and how fast."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase
from pipeline.config import Config

LBFGS_ITERATIONS = 100
WARM_UP = 0.1
RATIO = 32


def train_groups(classifier: SliceBagClassifier, phase: Phase, groups: Sequence[str] | None = None) -> None:
    """Let gradients flow into the phase's groups only, and set train and evaluation modes to match.

    Batch-norm layers keep their running statistics unless the phase says otherwise and trains them.

    Args:
        classifier: Is set up in place.
        phase: What is trained, and how.
        groups: Those of the phase that are trained already; None takes all.
    """
    names = phase.groups if groups is None else groups
    chosen = {
        id(parameter) for name, parameters in classifier.layer_groups() if name in names for parameter in parameters
    }
    if phase.rates_by == "relative_gradient":
        chosen -= {id(p) for m in classifier.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    for parameter in classifier.parameters():
        parameter.requires_grad_(id(parameter) in chosen)
    classifier.train(not phase.cached)
    for module in classifier.modules():
        own = list(module.parameters(recurse=False))
        frozen = bool(own) and not any(p.requires_grad for p in own)
        if isinstance(module, _BatchNorm) and (phase.batch_norm == "eval" or frozen):
            module.eval()


def make_optimizer(
    classifier: SliceBagClassifier, phase: Phase, config: Config, extra: Sequence[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The phase's optimizer; AdamW gets one parameter group per layer group, decay on weight matrices only.

    Where rates are set by relative gradients, every tensor is a group, whose key `base` holds what they multiply.

    Args:
        classifier: After `train_groups`.
        phase, config: Rates and decay.
        extra: Parameters of an alignment term, which learn as fast as the head and do not decay.
    """
    if phase.optimizer == "lbfgs":
        trained = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
        return torch.optim.LBFGS(trained, max_iter=LBFGS_ITERATIONS, line_search_fn="strong_wolfe")
    base = phase.learning_rate or config.learning_rate
    groups: list[dict[str, object]] = []
    for name, parameters in classifier.layer_groups():
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        rate = base * phase.rates.get(name, 1.0)
        for decayed, decay in ((True, phase.weight_decay), (False, 0.0)):
            part: list[nn.Parameter] = [p for p in trained if (p.ndim > 1) == decayed]
            if phase.rates_by == "relative_gradient":
                groups += [{"params": [p], "lr": rate, "peak": rate, "base": rate, "weight_decay": decay} for p in part]
            elif part:
                groups.append({"params": part, "lr": rate, "peak": rate, "weight_decay": decay})
    if extra:
        rate = base * phase.rates.get("head", 1.0)
        groups.append({"params": list(extra), "lr": rate, "peak": rate, "weight_decay": 0.0})
    return torch.optim.AdamW(groups)


def set_rate(
    optimizer: torch.optim.Optimizer, done: float, schedule: Literal["cosine", "triangular"] = "cosine"
) -> None:
    """Set every group's rate to its peak times the schedule's factor for the share `done` of the phase, 0..1."""
    factor = cosine(done) if schedule == "cosine" else slanted_triangle(done)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def cosine(done: float) -> float:
    """Linear warm-up, then cosine decay.

    factor = done / WARM_UP                                          for done < WARM_UP
    factor = (1 + cos(pi (done - WARM_UP) / (1 - WARM_UP))) / 2      after it

    Adam's first steps are full-sized however small the gradient is; without the warm-up they distort features
    that a probe has just fitted.

    Source:
        Loshchilov & Hutter 2017, SGDR, eq. 5 without restarts; warm-up as in Goyal et al. 2017, section 2.2.
    """
    if done < WARM_UP:
        return done / WARM_UP
    return (1 + math.cos(math.pi * min((done - WARM_UP) / (1 - WARM_UP), 1.0))) / 2


def slanted_triangle(done: float) -> float:
    """A short linear rise from 1 / RATIO to 1, then a long linear fall back.

    factor = (1 + p (RATIO - 1)) / RATIO, with p = done / WARM_UP for done < WARM_UP and
    p = 1 - (done - WARM_UP) / (1 - WARM_UP) after it

    Source:
        Howard & Ruder 2018, Universal Language Model Fine-tuning, eq. 3 (cut_frac 0.1, ratio 32).
    """
    p = done / WARM_UP if done < WARM_UP else 1 - min((done - WARM_UP) / (1 - WARM_UP), 1.0)
    return (1 + p * (RATIO - 1)) / RATIO
