"""DAN: the distributions of the two domains' features are drawn together in a kernel space."""

import torch
from torch import Tensor

from models.alignment.loss import AlignmentLoss, DomainBatch

ALPHAS = tuple(2.0**k for k in range(-3, 2))


def squared_distances(rows: Tensor) -> Tensor:
    """||x_i - x_j||^2 of all pairs of rows (n, F), shape (n, n), zero on the diagonal."""
    centred = rows - rows.detach().mean(dim=0)  # the same distances from smaller numbers: less rounding
    norms = centred.square().sum(dim=1)
    found = (norms[:, None] + norms[None, :] - 2 * centred @ centred.T).clamp(min=0)
    same = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    return found.masked_fill(same, 0)


def mmd_loss(source: Tensor, target: Tensor) -> Tensor:
    """Squared maximum mean discrepancy with a sum of Gaussian kernels, the unbiased estimate.

    k(x, y) = sum over alpha in 2^-3..2^1 of exp(-||x - y||^2 / (2 alpha m)), where m is the mean squared distance
    over all pairs of different rows of both sides together, taken as a constant (no gradient flows through it).

    MMD^2 = mean_{i != j} k(s_i, s_j) + mean_{i != j} k(t_i, t_j) - 2 mean_{ij} k(s_i, t_j)

    The quadratic-time U-statistic: unbiased, so that two equal domains give 0 on average and their gradient is
    zero on average; a single value may be negative. The kernels have equal weights instead of learned ones.

    Args:
        source, target: Features of the two domains, shape (B, F) and (B', F), B and B' >= 2.

    Returns:
        Scalar, at most 2 x 5 kernels.

    Source:
        Long et al. 2015, Learning Transferable Features with Deep Adaptation Networks, eq. 1 to 3; the estimator is
        that of Gretton et al. 2012, A Kernel Two-Sample Test, eq. 3.
    """
    n, m = len(source), len(target)
    distances = squared_distances(torch.cat([source, target]))
    scale = (distances.detach().sum() / ((n + m) * (n + m - 1))).clamp(min=torch.finfo(distances.dtype).tiny)
    kernel = torch.stack([torch.exp(-distances / (2 * alpha * scale)) for alpha in ALPHAS]).sum(dim=0)
    diagonal = len(ALPHAS)  # k(x, x) of every row, which the means over different rows leave out
    within_source = (kernel[:n, :n].sum() - n * diagonal) / (n * (n - 1))
    within_target = (kernel[n:, n:].sum() - m * diagonal) / (m * (m - 1))
    return within_source + within_target - 2 * kernel[:n, n:].mean()


class MultiKernelMMD(AlignmentLoss):
    """`mmd_loss` of a batch."""

    least_rows = 2

    def __init__(self, num_features: int, seed: int) -> None:
        super().__init__()

    def forward(self, batch: DomainBatch) -> Tensor:
        """The loss, a scalar."""
        return mmd_loss(batch.source, batch.target)
