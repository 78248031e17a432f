"""LogME: the evidence of a Bayesian linear regression from features to labels."""

import math

import torch
from torch import Tensor

from models.transferability.labels import check_rows, dividing

MOST_STEPS = 200
TOLERANCE = 1e-6
LEAST_RESIDUAL = 1e-10


def logme(features: Tensor, targets: Tensor) -> float:
    """Mean over the labels, one versus rest, of the largest log evidence of a linear model, divided by n.

    With F the features (n, D) and y a column of indicators: w ~ N(0, I / a), y | w ~ N(F w, I / b),

        log p(y | F, a, b) = n/2 log b + D/2 log a - n/2 log 2 pi - b/2 |F m - y|^2 - a/2 m'm - 1/2 log |A|,
        A = a I + b F'F,  m = b A^-1 F'y,

    at its maximum over a and b, found by the fixed point of MacKay 1992: g = sum_i b s_i / (a + b s_i), a = g / m'm,
    b = (n - g) / |F m - y|^2, with s_i the eigenvalues of F'F. It starts where signal and noise each explain y alone,
    a = tr(F'F) / |y|^2, b = n / |y|^2, and not from a = b = 1 as in the paper: from there, with more features than rows
    and two equal rows (the same image twice), it runs off to b = infinity, where the evidence then has no bound. The
    residual is taken as at least 1e-10 |y|^2, so that labels which the features fit exactly do not end there either.

    Args:
        features: Pooled features (n, D).
        targets: Indicators (n, L); labels that all or no rows have are left out.

    Raises:
        ScoreInputError: If the shapes do not fit, a value is not finite, or no label divides the rows.

    Source:
        You et al. 2021, LogME: Practical Assessment of Pre-trained Models for Transfer Learning, sections 4.1-4.3.
        Iterated until neither a nor b moves by more than a millionth, at most 200 times.
    """
    features, targets = check_rows(features, targets)
    eigenvalues, left = _spectrum(features)
    values = [_evidence(targets[:, c], left, eigenvalues, features.shape[1]) for c in dividing(targets)]
    return sum(values) / len(values)


def _spectrum(features: Tensor) -> tuple[Tensor, Tensor]:
    """Non-zero eigenvalues (r,) of F'F and the left singular vectors (n, r), from the smaller Gram matrix."""
    n, width = features.shape
    gram = features @ features.T if n <= width else features.T @ features
    values, vectors = torch.linalg.eigh(gram)
    kept = values > values[-1].clamp(min=0) * max(n, width) * torch.finfo(torch.float64).eps
    values, vectors = values[kept], vectors[:, kept]
    return values, vectors if n <= width else features @ vectors / values.sqrt()


def _evidence(y: Tensor, left: Tensor, eigenvalues: Tensor, width: int) -> float:
    n = len(y)
    projected = (left.T @ y) ** 2
    outside = (y @ y - projected.sum()).clamp(min=0)
    length_of_y = float(y @ y)
    a, b = max(float(eigenvalues.sum()), LEAST_RESIDUAL) / length_of_y, n / length_of_y
    for step in range(MOST_STEPS + 1):
        fitted = a + b * eigenvalues
        length = float((b**2 * eigenvalues * projected / fitted**2).sum())
        residual = max(float((a**2 * projected / fitted**2).sum() + outside), LEAST_RESIDUAL * length_of_y)
        effective = float((b * eigenvalues / fitted).sum())
        if length == 0:  # the features say nothing of y: the maximum lies at a -> infinity, b = n / |y|^2
            return (math.log(n / residual) - math.log(2 * math.pi) - 1) / 2
        if step == MOST_STEPS:
            break
        before, (a, b) = (a, b), (effective / length, (n - effective) / residual)
        if max(abs(a / before[0] - 1), abs(b / before[1] - 1)) < TOLERANCE:
            break
    log_det = float(torch.log(a + b * eigenvalues).sum()) + (width - len(eigenvalues)) * math.log(a)
    evidence = n * math.log(b) + width * math.log(a) - n * math.log(2 * math.pi)
    return (evidence - b * residual - a * length - log_det) / (2 * n)
