"""Volumes: how normal scores depend on a slice's place along the body, so that a place does not look like disease."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.detectors.stored import check_count, checked
from models.errors import DetectorError

NEEDED = 10
KNOTS = 65
BANDWIDTH = 0.05
NEIGHBOURS = 20
SPREAD_BANDWIDTH = 0.1
SPREAD_NEIGHBOURS = 40
FLOOR = 0.1
LOUD = (0.9, 1.645)  # nine in ten of a Gaussian lie within 1.645 standard deviations
ALIKE = 1e-5
ROUNDS = 30
NORMAL_MAD = 1.4826


@dataclass(frozen=True, slots=True, eq=False)
class PlaceProfile:
    """Location m and scale s of normal slices' scores along the body, linear between knots, constant outside.

    Fitted on slices of normal scans that the detector was not fitted on: on its own slices scores are lower.

    m(p) is the value at p of the line with least absolute deviations, weights exp(-(p_i - p)^2 / (2 h^2)), where h is
    0.05 of the body, or as far as the 20th nearest slice where that is farther. s(p) is 1.4826 times the median of
    |score_i - m(p_i)|, weighted alike with 0.1 and the 40th, and no less than a tenth of S, the 90th percentile of
    them all over 1.645: where scores hardly vary, a hair's breadth is no finding. Medians and percentiles, so that a
    few anomalies among the normals do not move them.

    Attributes:
        places: Knots, shape (K,), ascending, in [0, 1].
        centre, spread: m and s at the knots, shape (K,); s > 0.

    Source:
        Cleveland 1979, Robust locally weighted regression and smoothing scatterplots, for local lines; medians in place
        of its weights.
    """

    places: Tensor
    centre: Tensor
    spread: Tensor

    @classmethod
    def fit(cls, scores: Tensor, places: Tensor) -> "PlaceProfile":
        """Learn the profile.

        Args:
            scores: Of slices, shape (N,), finite, N >= 10.
            places: Of the same slices, shape (N,), 0 at one end of the body and 1 at the other.

        Raises:
            DetectorError: If slices are too few, a place is out of range, a score not finite, or scores do not vary
                from what their place alone says.
        """
        check_count(len(scores), NEEDED, "a profile along the body")
        y, p = scores.double().cpu(), places.double().cpu()
        if y.shape != p.shape or not bool(y.isfinite().all()) or not bool(((p >= 0) & (p <= 1)).all()):
            raise DetectorError("profile along the body: expected a finite score and a place in 0..1 for each slice")
        knots = torch.linspace(float(p.min()), float(p.max()), KNOTS, dtype=torch.float64)
        centre = torch.stack([_line_at(knot, p, y) for knot in knots])
        rest = (y - _between(p, knots, centre)).abs()
        overall = float(rest.quantile(LOUD[0])) / LOUD[1]
        if not overall > ALIKE * float(y.abs().max()):
            raise DetectorError(
                f"the scores of all {len(y)} normal slices are alike but for their place; nothing to scale"
            )
        width = [_weights(knot, p, SPREAD_BANDWIDTH, SPREAD_NEIGHBOURS) for knot in knots]
        spread = NORMAL_MAD * torch.stack([_weighted_median(rest, weight) for weight in width])
        return cls(knots.float(), centre.float(), spread.clamp(min=FLOOR * overall).float())

    def standardise(self, scores: Tensor, places: Tensor) -> Tensor:
        """(score - m(place)) / s(place).

        Args:
            scores: Of slices, shape (M,), or their maps, shape (M, S, S).
            places: Shape (M,), in [0, 1].

        Returns:
            Of the shape of `scores`, float32.

        Raises:
            DetectorError: If a place is out of range or the numbers of slices differ.
        """
        p = places.to(scores.device, torch.float32)
        if p.shape != scores.shape[:1] or not bool(((p >= 0) & (p <= 1)).all()):
            raise DetectorError(
                f"places of shape {tuple(p.shape)}: expected one in 0..1 for each of {len(scores)} slices"
            )
        knots = self.places.to(p.device)
        shape = (-1,) + (1,) * (scores.ndim - 1)
        centre = _between(p, knots, self.centre.to(p.device)).view(shape)
        return (scores.float() - centre) / _between(p, knots, self.spread.to(p.device)).view(shape)

    def learned(self) -> dict[str, Tensor]:
        """Knots, m and s, to be stored."""
        return {"places": self.places, "centre": self.centre, "spread": self.spread}

    @classmethod
    def take(cls, learned: Mapping[str, Tensor]) -> "PlaceProfile":
        """The profile that `learned` gave.

        Raises:
            DetectorError: If names, shapes or values do not fit.
        """
        found = checked(learned, {"places": (KNOTS,), "centre": (KNOTS,), "spread": (KNOTS,)})
        knots = found["places"]
        if not bool((knots.diff() >= 0).all() and (knots >= 0).all() and (knots <= 1).all()):
            raise DetectorError("stored profile along the body: expected ascending places in 0..1")
        if not bool((found["spread"] > 0).all()):
            raise DetectorError("stored profile along the body: expected spreads above 0")
        return cls(knots, found["centre"], found["spread"])


def _between(p: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Values at places p (M,), linear between knots, constant outside."""
    right = torch.searchsorted(knots, p.contiguous()).clamp(1, len(knots) - 1)
    low, high = knots[right - 1], knots[right]
    gap = high - low
    share = torch.where(gap > 0, (p - low) / gap.clamp(min=1e-12), 0.0).clamp(0, 1)
    return values[right - 1] * (1 - share) + values[right] * share


def _weights(knot: Tensor, p: Tensor, bandwidth: float, neighbours: int) -> Tensor:
    """Gaussian weights (N,) of places p (N,) about a knot; wide enough for a number of neighbours."""
    distance = (p - knot).abs()
    reach = float(distance.kthvalue(min(neighbours, len(p))).values)
    return torch.exp(-0.5 * (distance / max(bandwidth, reach)) ** 2)


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """The smallest value with at least half of the weight at or below it."""
    order = values.argsort()
    total = weights[order].cumsum(dim=0)
    return values[order][torch.searchsorted(total, total[-1:] / 2).clamp(max=len(values) - 1)][0]


def _line_at(knot: Tensor, p: Tensor, y: Tensor) -> Tensor:
    """Value at the knot of the weighted line of least absolute deviations, by reweighted least squares."""
    weights = _weights(knot, p, BANDWIDTH, NEIGHBOURS)
    offset = p - knot
    least = 1e-6 * float((y - _weighted_median(y, weights)).abs().max())
    here, slope = _weighted_median(y, weights), torch.zeros((), dtype=y.dtype)
    for _ in range(ROUNDS):
        w = weights / (y - here - slope * offset).abs().clamp(min=max(least, 1e-300))
        w = w / w.sum()
        x0, y0 = (w * offset).sum(), (w * y).sum()
        variance = (w * (offset - x0) ** 2).sum()
        slope = (w * (offset - x0) * (y - y0)).sum() / variance if variance > 1e-12 else torch.zeros_like(slope)
        here = y0 - slope * x0
    return here
