"""Where the slices of a sample lie in the scan's own grid, and the way back of maps drawn on them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import MapError
from pipeline.prepare.crop import Box
from pipeline.prepare.orient import Turn

Array = npt.NDArray[np.float64]

MOST_TIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Peak:
    """Where a map is highest.

    Attributes:
        voxel: Index (i, j, k) in the scan's own grid.
        mm: Its centre in RAS+ mm; None where the scan is placed in no patient.
        value: The map's value there.
    """

    voxel: tuple[int, int, int]
    mm: tuple[float, float, float] | None
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How N slices of S x S pixels came out of a scan; `prepare` makes the pixels by it.

    The scan was turned to patient axes, cropped to a box, resized in plane, then averaged into slabs. Along a side of
    the box of w voxels, pixel p is centred at (p + 0.5) w / S - 0.5 voxels from the first one's centre. Slab n of N
    averages slices floor(n K / N) to ceil((n + 1) K / N) - 1 and is centred in their middle.

    Attributes:
        shape: Voxels (I, J, K) of the scan as it is stored.
        affine: Its voxel index to RAS+ mm, shape (4, 4); the identity where it is placed in no patient.
        placed: Whether the affine means anything.
        turn: How axes were flipped and swapped.
        box: Start and stop along the turned axes.
        size: S.
        slices: N.
    """

    shape: tuple[int, int, int]
    affine: Array
    placed: bool
    turn: Turn
    box: Box
    size: int
    slices: int

    def cut(self, voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The part of the scan that the slices show, turned; a view of voxels (I, J, K[, 3])."""
        turned = self.turn.apply(voxels)
        (i, stop_i), (j, stop_j), (k, stop_k) = self.box
        return turned[i:stop_i, j:stop_j, k:stop_k]

    def slice_centres(self) -> Array:
        """Where slice n is centred, in voxels from the first one of the box, shape (N,)."""
        depth = self.box[2][1] - self.box[2][0]
        n = np.arange(self.slices)
        first, after = n * depth // self.slices, -(-(n + 1) * depth // self.slices)
        centres: Array = (first + after - 1) / 2
        return centres

    def to_source(self, maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Carry maps (N, S, S) back to the scan's own grid, shape (I, J, K), float32.

        Trilinear between the centres of pixels and slabs, constant beyond the outermost ones. Outside the crop, where
        nothing was looked at, it is the lowest value of the maps, so that neither a peak nor an edge arises there.
        Memory beside the result: two slices of the crop.

        Raises:
            MapError: If the maps' shape is another, or a value is not finite.
        """
        if maps.shape != (self.slices, self.size, self.size):
            raise MapError(f"maps of shape {maps.shape}, expected {(self.slices, self.size, self.size)}")
        lowest = float(maps.min())
        if not (np.isfinite(lowest) and np.isfinite(maps.max())):
            raise MapError("a map holds values that are not finite")
        result = np.full(self.shape, lowest, np.float32)
        part = self.cut(result)
        columns, rows = _enlarge(part.shape[0], self.size), _enlarge(part.shape[1], self.size)
        places = np.interp(np.arange(part.shape[2]), self.slice_centres(), np.arange(self.slices))
        near: dict[int, npt.NDArray[np.float32]] = {}
        for k, place in enumerate(places):
            below, share = int(place), np.float32(place % 1)
            wanted = {below, min(below + 1, self.slices - 1)}
            near = {n: near[n] if n in near else columns @ maps[n].T @ rows.T for n in sorted(wanted)}
            part[:, :, k] = near[below] if share == 0 else near[below] + share * (near[below + 1] - near[below])
        return result

    def source_place(self, n: float, row: float, column: float) -> Array:
        """Voxel coordinates (i, j, k) in the scan's own grid of a place on the slices, not rounded.

        Args:
            n: Slice; between two slices it is a fraction.
            row, column: Pixel, 0 at the centre of the first one.
        """
        (i, stop_i), (j, stop_j), (k, _) = self.box
        depth = float(np.interp(n, np.arange(self.slices), self.slice_centres()))
        turned = np.array(
            [
                i + (column + 0.5) * (stop_i - i) / self.size - 0.5,
                j + (row + 0.5) * (stop_j - j) / self.size - 0.5,
                k + depth,
            ]
        )
        return self.turn.undo(turned, self.shape)

    def source_index(self, n: float, row: float, column: float) -> tuple[int, int, int]:
        """The voxel (i, j, k) of the scan's own grid that is nearest to a place on the slices."""
        place = np.rint(self.source_place(n, row, column)).clip(0, np.array(self.shape) - 1)
        return (int(place[0]), int(place[1]), int(place[2]))

    def source_mm(self, n: float, row: float, column: float) -> tuple[float, float, float] | None:
        """RAS+ mm of a place on the slices; None where the scan is placed in no patient."""
        return self._mm(self.source_place(n, row, column))

    def peak(self, carried: npt.NDArray[np.float32]) -> Peak:
        """The highest voxel of a map (I, J, K) in the scan's own grid; of equal ones the most central.

        Equal ones are common at the ends of a volume, beyond the centre of the outermost slab; of these the one at that
        centre is taken. Of more than a million the first is: the map is flat.
        """
        highest = carried == carried.max()
        at = np.array(np.unravel_index(int(highest.argmax()), carried.shape))
        if 1 < np.count_nonzero(highest) <= MOST_TIES:
            ties = np.argwhere(highest)
            middle = self.source_place((self.slices - 1) / 2, (self.size - 1) / 2, (self.size - 1) / 2)
            at = ties[np.linalg.norm(ties - middle, axis=1).argmin()]
        voxel = (int(at[0]), int(at[1]), int(at[2]))
        return Peak(voxel, self._mm(np.array(voxel, np.float64)), float(carried[voxel]))

    def _mm(self, place: Array) -> tuple[float, float, float] | None:
        if not self.placed:
            return None
        x, y, z = self.affine[:3, :3] @ place + self.affine[:3, 3]
        return (float(x), float(y), float(z))


def _enlarge(side: int, size: int) -> npt.NDArray[np.float32]:
    """The matrix (side, S) that takes S pixels to `side` voxels: linear between centres, constant outside."""
    place = ((np.arange(side) + 0.5) * size / side - 0.5).clip(0, size - 1)
    left = np.minimum(place.astype(np.int64), max(size - 2, 0))
    matrix = np.zeros((side, size), np.float32)
    matrix[np.arange(side), left] = 1 - (place - left)
    matrix[np.arange(side), np.minimum(left + 1, size - 1)] += (place - left).astype(np.float32)
    return matrix
