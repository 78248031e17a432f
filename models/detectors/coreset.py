"""A few patches that stand for millions: greedy k-centre over a stream, in memory that never passes a stated cap."""

import numpy as np
import torch
from torch import Tensor

from models.detectors.nearest import ROWS, Nearest
from models.errors import DetectorError

BLOCK = 64
SLACK = 0.05
SAME = 1e-6


class CoreSet:
    """Patches kept of a stream, so that every patch that came by has one of them near.

    Patches fill a buffer; when it is full, greedy k-centre reduces it to `size` centres and measures their radius r,
    the largest distance of any patch in the buffer to its nearest centre. From then on a patch within r of a centre is
    covered already and let go at once; the others fill the buffer again. A union of core-sets reduced anew is a
    core-set of all (a patch ends within the sum of the radii since it came), so the order of the stream should be
    random. Distances are those of a Gaussian random projection to D dimensions, right to about sqrt(1 / (2 D)), 6 % at
    128; the patches themselves are kept whole.

    Args:
        size: Most patches in the end.
        cap: Most patches in memory at any time, more than `size`.
        seed: Of the projection and of the first centre.
        dimensions: D of the projection; patches of no more features are not projected.

    Attributes:
        count: Patches in memory now.
        reductions: How often the buffer was reduced.

    Source:
        Roth et al. 2022, PatchCore, sec. 3.2 (greedy k-centre on a random projection); Indyk et al. 2014, Composable
        Core-sets for Diversity and Coverage Maximization; Charikar et al. 2004, Incremental Clustering (a new point
        within the radius needs no centre).
    """

    def __init__(self, *, size: int, cap: int, seed: int, dimensions: int = 128) -> None:
        if not 0 < size < cap:
            raise DetectorError(f"a core-set of {size} patches out of a buffer of {cap}; size must be 1 to cap - 1")
        self.size, self.cap, self.seed, self.dimensions = size, cap, seed, dimensions
        self.count = self.reductions = 0
        self._centres, self._radius = 0, 0.0
        self._patches = self._points = self._projection = torch.empty(0)

    def add(self, patches: Tensor) -> None:
        """Take patches, shape (P, F), all of one F and on one device.

        Raises:
            DetectorError: If a value is not finite.
        """
        if not bool(patches.isfinite().all()):
            raise DetectorError("a feature of a patch is not finite: are the network's weights sound?")
        if not len(self._patches):
            self._begin(patches)
        while len(patches):
            points = self._project(patches)
            if self._centres:
                far = Nearest(self._points[: self._centres])(points)[0] > self._radius
                patches, points = patches[far], points[far]
            room = min(self.cap - self.count, len(patches))
            self._patches[self.count : self.count + room] = patches[:room]
            self._points[self.count : self.count + room] = points[:room]
            self.count += room
            patches = patches[room:]
            if self.count == self.cap:
                self._reduce()

    def finish(self) -> Tensor:
        """The patches that stand for all, shape (at most `size`, F); fewer where no more differ."""
        if self.count > self._centres:
            self._reduce()
        return self._patches[: self.count].clone()

    def _begin(self, patches: Tensor) -> None:
        width, narrow = patches.shape[1], min(self.dimensions, patches.shape[1])
        device = patches.device
        self._patches = torch.empty(self.cap, width, device=device)
        self._points = torch.empty(self.cap, narrow, device=device)
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(width, narrow, generator=generator) / narrow**0.5
        self._projection = (drawn if narrow < width else torch.eye(width)).to(device)

    def _project(self, patches: Tensor) -> Tensor:
        return patches @ self._projection

    def _reduce(self) -> None:
        first = int(np.random.default_rng([self.seed, self.reductions]).integers(self.count))
        chosen, self._radius = greedy_centres(self._points[: self.count], self.size, first=first)
        self.count = self._centres = len(chosen)
        self._patches[: self.count] = self._patches[chosen]
        self._points[: self.count] = self._points[chosen]
        self.reductions += 1


def greedy_centres(points: Tensor, count: int, *, first: int, slack: float = SLACK) -> tuple[Tensor, float]:
    """Greedy k-centre: the next centre is the point farthest from all centres, or one at least 1 - slack as far.

    Many such points are found at once among the farthest `BLOCK`, each at least (1 - slack) times the largest
    distance from every centre before it. So the radius is at most 2 / (1 - slack) times the best possible one, and
    points are read once per block instead of once per centre.

    Args:
        points: Shape (n, D), float32.
        count: Number of centres wanted; fewer where points are the same (to float32 precision).
        first: The first centre.

    Returns:
        Rows of the centres, shape (at most count,), and the radius: the largest distance to the nearest centre.

    Source:
        Gonzalez 1985, Clustering to minimize the maximum intercluster distance; the proof for the slack is his, with
        the distance between centres smaller by that factor.
    """
    squares = points.square().sum(dim=1)
    least = SAME * float(squares.max())
    gaps = torch.full_like(squares, torch.inf)
    chosen = torch.tensor([first], device=points.device)
    new = chosen
    while True:
        _closer(gaps, points, squares, new)
        far, at = gaps.topk(min(BLOCK, len(points)))
        if len(chosen) >= count or float(far[0]) <= least:
            return chosen, max(float(far[0]), 0.0) ** 0.5
        new = at[_apart(points[at], far, (1 - slack) ** 2)][: count - len(chosen)]
        chosen = torch.cat([chosen, new])


def _closer(gaps: Tensor, points: Tensor, squares: Tensor, new: Tensor) -> None:
    """Lower each point's squared distance to its nearest centre by what new centres are nearer; in place."""
    centres, lengths = points[new].T, squares[new]
    for start in range(0, len(points), ROWS):  # few enough rows that their distances stay in the processor's cache
        part = slice(start, start + ROWS)
        found = torch.addmm(lengths, points[part], centres, alpha=-2).amin(dim=1) + squares[part]
        torch.minimum(gaps[part], found, out=gaps[part])
    gaps[new] = 0.0


def _apart(block: Tensor, far: Tensor, share: float) -> Tensor:
    """Greedy choice within a block of the farthest points, as long as one is `share` of the first's distance away.

    Args:
        block: Shape (B, D), farthest first.
        far: Their squared distances to the centres so far, shape (B,).
        share: (1 - slack)^2.
    """
    between = torch.cdist(block, block).square().cpu().numpy()
    gaps = far.cpu().numpy().copy()
    enough = share * gaps[0]
    chosen: list[int] = []
    while len(chosen) < len(gaps) and gaps.max() >= enough:
        chosen.append(int(gaps.argmax()))
        gaps = np.minimum(gaps, between[chosen[-1]])
        gaps[chosen[-1]] = -1.0
    return torch.tensor(chosen, device=block.device)
