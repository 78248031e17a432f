"""Bringing the grey values of a scan to a standard learned from the source scans, before the network.

Both kinds are one monotone, piecewise linear curve a scan, through (the scan's own percentiles, the standard's levels);
they differ in how many percentiles there are and in how the standard is learned.
"""

from collections.abc import Iterable
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from pipeline.errors import CohortError, ConfigError

HarmoniseKind = Literal["nyul", "histogram"]
Background = Literal["border", "lowest"]
Floats = npt.NDArray[np.float64]

WHITE = float(np.iinfo(np.uint16).max)
QUANTILES = 64
PERCENTILES: dict[str, tuple[float, ...]] = {
    "nyul": (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0),
    "histogram": tuple(100 * (i + 0.5) / QUANTILES for i in range(QUANTILES)),
}


class Harmonise(BaseModel):
    """A standard grey-value scale, and how a scan is brought to it.

    A scan's percentiles x_1 <= ... <= x_m are mapped to the levels s_1 <= ... <= s_m of the standard, linearly in
    between, with the slope of the outermost pieces beyond them, and clamped to 0..1:

    y(v) = s_i + (v - x_i) (s_(i+1) - s_i) / (x_(i+1) - x_i)    for x_i <= v <= x_(i+1)

    Percentiles that coincide count as one, at the mean of their levels. One curve serves all slices and channels of a
    scan, so that slices stay comparable and colours keep their order.

    Attributes:
        kind: `nyul` or `histogram`.
        percentiles: Where the landmarks lie, strictly increasing, within 0..100.
        levels: Their grey values in the standard, 0..1, never falling.
        background: Which values of a scan count, see `foreground`.

    Source:
        nyul: Nyul, Udupa & Zhang 2000, New variants of a method of MRI scale standardization (deciles, and one
        percentile at each end). histogram: Gonzalez & Woods, Digital Image Processing, histogram specification.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: HarmoniseKind
    percentiles: tuple[float, ...]
    levels: tuple[float, ...]
    background: Background = "border"

    @model_validator(mode="after")
    def _check(self) -> Self:
        where, levels = np.array(self.percentiles), np.array(self.levels)
        if len(where) != len(levels) or len(where) < 2:
            raise ValueError("levels: expected one for each of at least two percentiles")
        if where[0] < 0 or where[-1] > 100 or not (np.diff(where) > 0).all():
            raise ValueError("percentiles: expected 0..100, increasing")
        if levels[0] < 0 or levels[-1] > 1 or not (np.diff(levels) >= 0).all() or levels[0] == levels[-1]:
            raise ValueError("levels: expected 0..1, never falling, the last above the first")
        return self

    def apply(self, slices: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring one prepared scan to the standard.

        Args:
            slices: All slices of the scan, (..., H, W): uint16, 0..65535 for 0..1, or floating in [0, 1].

        Returns:
            An array of the same shape and type. A scan whose foreground (see `foreground`) has fewer than two grey
            values at the landmarks has nothing to be stretched and comes back as it is.
        """
        levels = slices.dtype == np.uint16
        white = WHITE if levels else 1.0
        values = foreground(slices, self.background)
        if not values.size:
            return slices
        marks = _percentiles(values, self.percentiles) / white
        if marks[0] == marks[-1]:
            return slices
        if not levels:
            mapped: npt.NDArray[Any] = self._curve(marks, slices.astype(np.float64)).astype(slices.dtype)
            return mapped
        table = np.rint(self._curve(marks, np.arange(WHITE + 1) / WHITE) * WHITE).astype(np.uint16)
        found: npt.NDArray[Any] = table[slices]
        return found

    def _curve(self, marks: Floats, values: Floats) -> Floats:
        """The grey values y(v) of `values`, given the scan's own landmarks."""
        x, group, counts = np.unique(marks, return_inverse=True, return_counts=True)
        s = np.bincount(group, weights=self.levels) / counts
        mapped = np.interp(values, x, s)
        below, above = values < x[0], values > x[-1]
        mapped[below] = s[0] + (values[below] - x[0]) * (s[1] - s[0]) / (x[1] - x[0])
        mapped[above] = s[-1] + (values[above] - x[-1]) * (s[-1] - s[-2]) / (x[-1] - x[-2])
        return mapped.clip(0, 1)


def foreground(slices: npt.NDArray[Any], background: Background) -> npt.NDArray[Any]:
    """The grey values of a scan that landmarks are taken from, shape (M,).

    `border`: all within the frame that is left when constant edges are taken off: edge rows and columns, of all slices
    together, that are wholly the scan's lowest or wholly its highest value, as padding and shutters are. Dark
    parts inside the frame count, although they look like background: air beside a chest is grey in one display
    window and cut off by another, and percentiles that left out the second kind would move with the window.
    `lowest`: all values strictly above the scan's lowest, since the air around the body fills much of a volume, and
    how much depends on the field of view. Both rules look at order alone, so that they choose the same pixels
    whatever strictly monotone curve the grey values went through.

    Args:
        slices: Slices (..., H, W).
        background: The rule.
    """
    lowest, highest = slices.min(), slices.max()
    if background == "lowest":
        above: npt.NDArray[Any] = slices[slices > lowest]
        return above
    stack, before = slices.reshape(-1, *slices.shape[-2:]), -1
    while stack.size != before:
        before = stack.size
        stack = _without_edges(_without_edges(stack, lowest), highest)
    return stack.reshape(-1)


def _without_edges(stack: npt.NDArray[Any], value: np.generic) -> npt.NDArray[Any]:
    """The part of a stack (M, H, W) within the outermost rows and columns that hold another value."""
    other = stack != value
    rows, columns = other.any(axis=(0, 2)).nonzero()[0], other.any(axis=(0, 1)).nonzero()[0]
    if not rows.size:
        return stack[:, :0, :0]
    return stack[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def fit_harmonise(
    kind: HarmoniseKind, arrays: Iterable[npt.NDArray[np.uint16]], background: Background | None = None
) -> Harmonise:
    """Learn the standard from prepared scans, one at a time.

    Args:
        kind: `nyul`: each scan's landmarks are brought to a common first and last one, linearly, then averaged;
            these two are the mean first and last landmark over the scans, so that the standard lies where the
            source does: s_i = m_1 + (m_m - m_1) mean_k((x_ki - x_k1) / (x_km - x_k1)) with m_i = mean_k(x_ki).
            `histogram`: the mean quantile function, s_i = mean_k(x_ki) = m_i.
        arrays: Slices of each source scan, (N, C, S, S) uint16; scans without contrast in their foreground are
            passed over.
        background: Which of their values count; None takes `lowest` where the first scan has several slices, else
            `border`.

    Raises:
        ConfigError: For another kind.
        CohortError: If no scan has contrast in its foreground.
    """
    if kind not in PERCENTILES:
        raise ConfigError(f"harmonise {kind!r}: expected one of {', '.join(PERCENTILES)}")
    where = PERCENTILES[kind]
    total, shape = np.zeros(len(where)), np.zeros(len(where))
    used = seen = 0
    for array in arrays:
        seen += 1
        background = background or ("lowest" if len(array) > 1 else "border")
        values = foreground(array, background)
        marks = _percentiles(values, where) / WHITE if values.size else np.zeros(len(where))
        if marks[0] < marks[-1]:
            total += marks
            shape += (marks - marks[0]) / (marks[-1] - marks[0])
            used += 1
    if not used:
        raise CohortError(f"harmonise: none of {seen} source scans has contrast within its background")
    mean = total / used
    levels = mean if kind == "histogram" else mean[0] + (mean[-1] - mean[0]) * shape / used
    rising = np.maximum.accumulate(levels).clip(0, 1).tolist()
    return Harmonise(kind=kind, percentiles=where, levels=tuple(rising), background=background or "border")


def _percentiles(values: npt.NDArray[Any], where: tuple[float, ...]) -> Floats:
    found: Floats = np.percentile(values, where).astype(np.float64)
    return found
