"""Ledoit-Wolf covariance of a stream: one pass, and no row is kept."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import DetectorError


@dataclass(slots=True, eq=False)
class StreamedMoments:
    """Sums over rows x (F,), in float64, about a point near their mean so that no digits are lost.

    With q = x * x, element by element, the sums of x, q, xx', qx' and qq' give the covariance and the Ledoit-Wolf
    shrinkage about any mean and for features divided by anything, so that rows are seen once. Memory 24 F^2 bytes.

    Attributes:
        count: Number of rows n.
        origin: The point, shape (F,): the mean of the first rows.
        x, q, xx, qx, qq: The sums.
    """

    count: int
    origin: Tensor
    x: Tensor
    q: Tensor
    xx: Tensor
    qx: Tensor
    qq: Tensor

    @classmethod
    def about(cls, origin: Tensor) -> "StreamedMoments":
        """No rows yet; sums about `origin`, shape (F,)."""
        point = origin.double()
        vector = torch.zeros_like(point)
        square = torch.zeros(len(point), len(point), dtype=torch.float64, device=point.device)
        return cls(0, point, vector, vector.clone(), square, square.clone(), square.clone())

    def add(self, rows: Tensor) -> None:
        """Take in rows (M, F)."""
        x = rows.double() - self.origin
        q = x.square()
        self.count += len(rows)
        self.x += x.sum(dim=0)
        self.q += q.sum(dim=0)
        self.xx.addmm_(x.T, x)
        self.qx.addmm_(q.T, x)
        self.qq.addmm_(q.T, q)

    def mean(self) -> Tensor:
        """Mean of the rows, shape (F,)."""
        return self.origin + self.x / self.count

    def covariance(self) -> Tensor:
        """Covariance S, shape (F, F), divided by n."""
        centre = self.x / self.count
        return self.xx / self.count - torch.outer(centre, centre)

    def fourth(self, weight: Tensor) -> float:
        """Mean over the rows of (sum_i d_i (x_i - c_i)^2)^2, c their mean, with weights d (F,).

        With v = d * c and k = d'(c * c) the inner sum is d'q - 2 v'x + k, which is squared term by term.
        """
        c = self.x / self.count
        v, k = weight * c, float(weight @ (c * c))
        total = weight @ self.qq @ weight + 4 * v @ self.xx @ v - 4 * weight @ self.qx @ v
        total = total + 2 * k * (weight @ self.q) - 4 * k * (v @ self.x)
        return float(total) / self.count + k * k


def ledoit_wolf(moments: StreamedMoments, divisor: Tensor) -> tuple[Tensor, float]:
    """Covariance (1 - a) S + a m I of features divided by `divisor` (F,), S their covariance, m = tr(S) / F.

    a = min(b, d) / d with d = ||S - m I||^2 / F and b = (mean over rows of ||x||^4 - ||S||^2) / (F n), x the centred
    and divided rows, in the Frobenius norm.

    Returns:
        The covariance (F, F) in float64, and a in [0, 1].

    Source:
        Ledoit & Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices.
    """
    covariance = moments.covariance() / torch.outer(divisor, divisor)
    size = len(covariance)
    level = float(covariance.trace()) / size
    energy = float(covariance.square().sum())
    delta = energy / size - level**2
    beta = (moments.fourth(divisor.square().reciprocal()) - energy) / (size * moments.count)
    shrinkage = max(min(beta, delta), 0.0) / delta if delta > 0 else 0.0
    covariance *= 1 - shrinkage
    covariance.diagonal().add_(shrinkage * level)
    return covariance, shrinkage


def whitening(covariance: Tensor) -> Tensor:
    """W (F, F) with W W' = inverse of the covariance, so that (f - m)' P (f - m) = ||(f - m) W||^2.

    Raises:
        DetectorError: If the covariance has no inverse.
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed.any()):
        raise DetectorError(
            "the covariance of the normal slices' features has no inverse; add more, and varied, slices"
        )
    eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    inverse: Tensor = torch.linalg.solve_triangular(factor, eye.expand_as(covariance), upper=False)
    return inverse.mT
