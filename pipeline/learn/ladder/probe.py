"""The ladder's probe: regularised logistic regression on joined stages, with weights for scans."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from models.classifier import FeatureNorm
from pipeline.config import Task
from pipeline.learn.cross_probe import MOST_STEPS, STRENGTH
from pipeline.learn.folds import grouped_folds

RULED_OUT = -30.0


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A fitted head with the standardisation below it.

    Attributes:
        mean, std: Of `FeatureNorm`, (F,).
        weight: (L, F).
        bias: (L,).
    """

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Logits (n, L) of features (n, F)."""
        return ((features - self.mean) / self.std) @ self.weight.T + self.bias

    def standardised_by(self, features: Tensor, widths: Sequence[int]) -> "Probe":
        """The same head on features standardised by other scans: AdaBN for the one norm that every network has."""
        norm = fitted_norm(features, widths)
        return replace(self, mean=norm.mean, std=norm.std)

    def state(self) -> dict[str, Tensor]:
        """As tensors of a classifier with mean pooling, which then gives these logits."""
        return {"norm.mean": self.mean, "norm.std": self.std, "head.weight": self.weight, "head.bias": self.bias}


def fitted_norm(features: Tensor, widths: Sequence[int]) -> FeatureNorm:
    """Standardisation by features (n, F) of stages of these widths."""
    norm = FeatureNorm(widths)
    norm.fit(features)
    return norm


def fit_probe(
    features: Tensor, targets: Tensor, widths: Sequence[int], task: Task, weights: Tensor | None = None
) -> Probe:
    """Fit the head.

    multiclass: minimises 1/2 ||W||^2 + C sum_i v_i w_{y_i} (-log softmax(W z_i + b)_{y_i}), w_c = n / (L n_c), v_i the
    scan's own weight, C = 0.01; of two classes one vector w is fitted and W = (-w/2, w/2). multilabel: one such fit a
    finding. The stages' features z count alike (`FeatureNorm`).

    Args:
        features: (n, F).
        targets: Indicators (n, L), of at least two classes.
        widths: Features of each stage.
        weights: v, (n,); 1 where not given.

    Source:
        Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes; all stages at once:
        Evci et al. 2022, Head2Toe: Utilizing Intermediate Representations for Better Transfer Learning.
    """
    norm = fitted_norm(features, widths)
    rows = norm(features).numpy()
    own = None if weights is None else weights.numpy()
    if task == "multilabel":
        fits = [_binary(rows, targets[:, c].numpy(), own) for c in range(targets.shape[1])]
        return Probe(norm.mean, norm.std, torch.stack([w for w, _ in fits]), torch.tensor([b for _, b in fits]))
    labels = targets.argmax(dim=1).numpy()
    if targets.shape[1] == 2:
        weight, bias = _binary(rows, labels, own)
        halves = torch.stack([-weight / 2, weight / 2])
        return Probe(norm.mean, norm.std, halves, torch.tensor([-bias / 2, bias / 2]))
    weights_of, biases = _softmax(rows, labels, own, targets.shape[1])
    return Probe(norm.mean, norm.std, weights_of, biases)


def _softmax(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, classes: int) -> tuple[Tensor, Tensor]:
    """Weights (L, F) and biases (L,); a class that no row has, as in a fold or a sample, is ruled out by its bias."""
    there = np.unique(labels)
    weight, bias = torch.zeros(classes, rows.shape[1]), torch.full((classes,), RULED_OUT)
    model = _fit(rows, labels, weights)
    slopes, offsets = model.coef_, model.intercept_
    if len(there) == 2:  # of which scikit-learn fits one vector
        slopes, offsets = np.concatenate([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
    weight[there], bias[there] = torch.from_numpy(slopes).float(), torch.from_numpy(offsets).float()
    return weight, bias


def _fit(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=MOST_STEPS).fit(rows, labels, weights)


def _binary(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> tuple[Tensor, float]:
    if len(np.unique(labels)) < 2:  # a fold may lack a rare finding: it then says nothing of it
        return torch.zeros(rows.shape[1]), 0.0
    model = _fit(rows, labels, weights)
    return torch.from_numpy(model.coef_[0]).float(), float(model.intercept_[0])


def held_out_logits(
    features: Tensor,
    targets: Tensor,
    patients: Sequence[str],
    widths: Sequence[int],
    task: Task,
    *,
    seed: int,
    with_source: tuple[Tensor, Tensor] | None = None,
    repeats: int = 1,
) -> Tensor:
    """Logits (n, L) of each scan from a probe that has not seen its patient: 5 folds, averaged over repeats.

    Args:
        with_source: Features and targets of source scans that every fold's probe is fitted on too; the two sites
            count alike, whatever their sizes.
    """
    total = torch.zeros(len(features), targets.shape[1])
    for fold in grouped_folds(targets, patients, folds=5, repeats=repeats, seed=seed):
        rows, held = torch.from_numpy(fold.train), torch.from_numpy(fold.test)
        x, y, weights = features[rows], targets[rows], None
        if with_source is not None:
            x, y, weights = pooled(with_source, (x, y))
        total[held] += fit_probe(x, y, widths, task, weights).logits(features[held])
    return total / repeats


def pooled(source: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Both sites' features and targets, and weights by which each site counts half; they sum to the target's number."""
    n, m = len(source[0]), len(target[0])
    weights = torch.cat([torch.full((n,), m / (2 * n)), torch.full((m,), 0.5)])
    return torch.cat([source[0], target[0]]), torch.cat([source[1], target[1]]), weights
