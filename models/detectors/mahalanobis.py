"""Mahalanobis distance to the Gaussian of normal pooled features."""

from collections.abc import Mapping

import torch
from torch import Tensor

from models.backbones import Backbone
from models.detectors.detector import Normals, Report, Scored
from models.detectors.pooled import PooledDetector, Scaling
from models.detectors.shrinkage import StreamedMoments, ledoit_wolf, whitening
from models.detectors.stored import check_count, check_spread, checked
from models.errors import DetectorError

NEEDED = 3  # of two the Ledoit-Wolf covariance is not shrunk, and has no inverse


class Mahalanobis(PooledDetector):
    """Score = sqrt((f - m)' P (f - m)), m the mean of normal pooled features, P their Ledoit-Wolf precision.

    Memory while fitting: three matrices F x F in float64, whatever the number of slices; 0.33 GB at F = 3,700 and
    0.40 GB at the cap of 4,096.

    Args:
        max_features: Most features F.
        scaling: See `PooledDetector`; the paper's is `none`. `standard` differs from it by what the covariance is
            shrunk towards alone.

    Source:
        Rippel, Mertens & Merhof 2020, Modeling the distribution of normal data in pre-trained deep features; the
        covariance after Ledoit & Wolf 2004.
    """

    centre: Tensor
    divisor: Tensor
    whiten: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        image_size: int,
        stages: tuple[str, ...] = (),
        seed: int = 0,
        reduced: bool = False,
        scaling: Scaling = "l2",
        max_features: int = 4096,
    ) -> None:
        super().__init__(backbone, image_size=image_size, stages=stages, seed=seed, reduced=reduced, scaling=scaling)
        if self.num_features > max_features:
            raise DetectorError(
                f"Mahalanobis: {self.num_features} features of {backbone.name}, at most {max_features}: take fewer"
            )
        self.register_buffer("centre", torch.empty(0), persistent=False)
        self.register_buffer("divisor", torch.empty(0), persistent=False)
        self.register_buffer("whiten", torch.empty(0), persistent=False)

    def fit(self, normals: Normals, *, report: Report | None = None) -> None:
        """Estimate mean and precision in one pass.

        Raises:
            DetectorError: If there are fewer than 3 slices, or their features are all alike.
        """
        check_count(normals.slices, NEEDED, "Mahalanobis")
        moments: StreamedMoments | None = None
        for rows in self.rows(normals):
            moments = moments or StreamedMoments.about(rows.mean(dim=0))
            moments.add(rows)
        if moments is None:
            raise DetectorError(f"Mahalanobis needs at least {NEEDED} normal slices, found none")
        mean, variance = moments.mean(), moments.covariance().diagonal().clamp(min=0)
        check_spread(float(variance.sum()), float((variance + mean.square()).sum()), moments.count)
        divisor = self.divisors(variance)
        covariance, shrinkage = ledoit_wolf(moments, divisor)
        found = {"centre": mean / divisor, "divisor": divisor, "whiten": whitening(covariance)}
        self.take({name: value.float().cpu() for name, value in found.items()})
        if report:
            report(f"covariance of {moments.count} normal slices, shrunk by {shrinkage:.3f}")

    @torch.no_grad()
    def score(self, images: Tensor, *, maps: bool = False) -> Scored:
        """Distance of each slice; there is no map.

        Raises:
            DetectorError: If nothing was learned yet.
        """
        if not len(self.whiten):
            raise DetectorError("this detector was not fitted yet")
        rows = self.pooled(images) / self.divisor - self.centre
        return Scored((rows @ self.whiten).norm(dim=1), None)

    def learned(self) -> dict[str, Tensor]:
        """Mean of the divided features (F,), what features are divided by (F,), and W (F, F) with W W' = P."""
        return {"centre": self.centre.cpu(), "divisor": self.divisor.cpu(), "whiten": self.whiten.cpu()}

    def take(self, learned: Mapping[str, Tensor]) -> None:
        """As of any detector."""
        size = self.num_features
        found = checked(learned, {"centre": (size,), "divisor": (size,), "whiten": (size, size)})
        if not bool((found["divisor"] > 0).all()):
            raise DetectorError("stored detector: expected divisors above 0")
        device = self.input_mean.device
        self.centre, self.divisor = found["centre"].to(device), found["divisor"].to(device)
        self.whiten = found["whiten"].to(device)
