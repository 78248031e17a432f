"""What draws a scan's maps: a function of its prepared slices, and how a reader must take the values."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pipeline.errors import MapError
from pipeline.score.outcome import Outcome

NO_MAP = "the bundle's detector looks at whole slices only, and has no map"


class MapSource(Protocol):
    """Draws a map on each slice."""

    def __call__(self, slices: Tensor) -> Tensor:
        """Slices (N, C, S, S) in [0, 1] of one scan to maps (N, S, S), larger where the scan is less normal."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The maps of one scan.

    Attributes:
        maps: Shape (N, S, S), float32, aligned with the pixels of the prepared slices.
        about: The class that they speak for.
        cut: Value from which a segmentation takes a voxel in; None where there is no such value.
    """

    maps: npt.NDArray[np.float32]
    about: str
    cut: float | None


class Draw(Protocol):
    """Draws the maps of a scan that was scored."""

    def __call__(self, slices: Tensor, outcome: Outcome) -> Drawn:
        """Maps of a scan's slices (N, C, S, S) in [0, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class FixedDraw:
    """Draws by one source, whatever the outcome, as an anomaly detector does.

    Attributes:
        source: Draws the maps.
        about: The class that they speak for.
        cut: See `Drawn`; of a detector whose score is its map's peak, the raw score from which a scan is called
            abnormal.
    """

    source: MapSource
    about: str
    cut: float | None

    def __call__(self, slices: Tensor, outcome: Outcome) -> Drawn:
        """Maps of a scan's slices (N, C, S, S) in [0, 1].

        Raises:
            MapError: If the source gives maps of another shape.
        """
        maps = self.source(slices).detach().cpu().float().numpy()
        expected = (len(slices), *slices.shape[-2:])
        if maps.shape != expected:
            raise MapError(f"the model drew maps of shape {maps.shape}, expected {expected}")
        return Drawn(maps, self.about, self.cut)
