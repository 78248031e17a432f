"""H-score: how much of the features' variance, in whitened space, lies between the classes."""

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from models.transferability.labels import check_rows, partitions


def h_score(features: Tensor, targets: Tensor) -> float:
    """H = tr(cov(f)^-1 cov(E[f | y])), with the pseudo-inverse where the covariance has none.

    Both covariances divide by n: cov(E[f | y]) = sum_c n_c/n (m_c - m)(m_c - m)'. With more features than rows less
    one it is the number of classes less one whatever the features are; use `regularised_h_score` there.

    Args:
        features: Pooled features (n, D).
        targets: Indicators (n, L). Where rows have several labels or none: the mean over the labels of the score
            for having it or not, labels that all or no rows have left out.

    Returns:
        Between 0 and the number of classes less one.

    Raises:
        ScoreInputError: If the shapes do not fit, a value is not finite, or no label divides the rows.

    Source:
        Bao et al. 2019, An Information-Theoretic Approach to Transferability in Task Transfer Learning, definition 2.
    """
    features, targets = check_rows(features, targets)
    centred = features - features.mean(dim=0)
    inverse = torch.linalg.pinv(centred.T @ centred / len(centred), hermitian=True)
    values = [
        float((means @ inverse * means).sum()) for means in (_class_means(centred, y) for y in partitions(targets))
    ]
    return sum(values) / len(values)


def regularised_h_score(features: Tensor, targets: Tensor) -> float:
    """H_s = (1 - s) tr(cov_s(f)^-1 cov(E[f | y])), cov_s(f) = (1 - s) cov(f) + s tr(cov(f)) / D I.

    The shrinkage s is that of Ledoit & Wolf 2004. Arguments, treatment of several labels and errors are those of
    `h_score`; it is 0 where the features do not vary.

    Source:
        Ibrahim et al. 2021, Newer is not always better: Rethinking transferability metrics, section 3.
    """
    features, targets = check_rows(features, targets)
    centred = features - features.mean(dim=0)
    if not bool(centred.any()):
        return 0.0
    covariance, shrinkage = ledoit_wolf(centred.numpy(), assume_centered=True)
    if shrinkage == 0:  # nothing was added to the covariance, which may have no inverse
        return h_score(features, targets)
    factor = torch.linalg.cholesky(torch.from_numpy(covariance))
    values = [
        (1 - float(shrinkage)) * float((means.T * torch.cholesky_solve(means.T, factor)).sum())
        for means in (_class_means(centred, y) for y in partitions(targets))
    ]
    return sum(values) / len(values)


def _class_means(centred: Tensor, labels: Tensor) -> Tensor:
    """Class means of centred features times sqrt(n_c / n), shape (C, D), so that M'M = cov(E[f | y])."""
    rows = [centred[labels == c] for c in labels.unique()]
    return torch.stack([part.mean(dim=0) * (len(part) / len(centred)) ** 0.5 for part in rows])
