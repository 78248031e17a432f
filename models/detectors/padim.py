"""PaDiM: a Gaussian at every place of the image, over the features of several stages."""

from collections.abc import Mapping

import torch
from torch import Tensor

from models.backbones import Backbone
from models.detectors.cells import Grid, enlarge
from models.detectors.detector import Detector, Normals, Report, Scored
from models.detectors.shrinkage import whitening
from models.detectors.stored import check_count, check_spread, checked
from models.errors import DetectorError

NEEDED = 2
IMAGES = 32
LOCATIONS = 128
TIE = 1e-6


class PaDiM(Detector):
    """Map = sqrt((f - m_p)' P_p (f - m_p)) at each place p, enlarged and smoothed; score = the map's highest value.

    f are d channels chosen at random by seed from all stages side by side, on the grid of the finest one; P_p is the
    inverse of the covariance at p plus 0.01 I. Slices must show the same anatomy at the same place.

    Memory: h w d^2 floats, whatever the number of slices; 125 MB for a 56 x 56 grid and d = 100.

    Args:
        channels: d.
        max_bytes: Most memory for the covariances.

    Source:
        Defard et al. 2021, PaDiM: a Patch Distribution Modeling Framework; d = 100 as for its ResNet-18.
    """

    ridge = 0.01
    sigma = 4.0

    mean: Tensor
    whiten: Tensor
    chosen: Tensor
    matrix: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        image_size: int,
        stages: tuple[str, ...] = (),
        seed: int = 0,
        reduced: bool = False,
        channels: int = 100,
        max_bytes: int = 2**30,
    ) -> None:
        super().__init__(backbone, image_size=image_size, stages=stages, seed=seed, reduced=reduced)
        grids = [self.grids[stage] for stage in self.stages]
        self.finest = min(grids, key=lambda grid: grid.step)
        self.steps = [nearest_cells(self.finest, grid) for grid in grids]
        self.starts = [sum(grid.channels for grid in grids[:n]) for n in range(len(grids) + 1)]
        self.depth = min(channels, self.starts[-1])
        needed = 4 * self.finest.cells**2 * self.depth**2
        if needed > max_bytes:
            raise DetectorError(
                f"PaDiM: {needed >> 20} MiB for {self.finest.cells} x {self.finest.cells} places of {self.depth} "
                f"channels, at most {max_bytes >> 20} MiB; take fewer channels, later stages or smaller slices"
            )
        order = torch.randperm(self.starts[-1], generator=torch.Generator().manual_seed(seed))
        self.register_buffer("chosen", order[: self.depth].sort().values, persistent=False)
        self.register_buffer("matrix", self.finest.enlarge(image_size, self.sigma), persistent=False)
        self.register_buffer("mean", torch.empty(0), persistent=False)
        self.register_buffer("whiten", torch.empty(0), persistent=False)

    @torch.no_grad()
    def places(self, images: Tensor) -> Tensor:
        """The chosen channels at every place, shape (h w, M, d), of slices (M, C, S, S) in [0, 1].

        Channels are chosen before a stage is brought to the finest grid, so that the maps of all never exist.
        """
        side = self.finest.cells
        found = torch.empty(side, side, len(images), self.depth, device=images.device)
        filled = 0
        for n, maps in enumerate(self.stage_maps(images)):
            here = self.chosen[(self.chosen >= self.starts[n]) & (self.chosen < self.starts[n + 1])] - self.starts[n]
            step = self.steps[n].to(images.device)
            small = maps[:, here].permute(2, 3, 0, 1).contiguous()
            found[..., filled : filled + len(here)] = small[step[:, None], step]
            filled += len(here)
        return found.flatten(0, 1)

    @torch.no_grad()
    def fit(self, normals: Normals, *, report: Report | None = None) -> None:
        """Estimate mean and covariance of every place in one pass.

        Raises:
            DetectorError: If there are fewer than 2 slices, or their features are all alike.
        """
        check_count(normals.slices, NEEDED, "PaDiM")
        places, depth, device = self.finest.cells**2, self.depth, self.input_mean.device
        self.mean = self.whiten = torch.empty(0, device=device)
        origin = torch.empty(0, device=device)
        sums = torch.zeros(places, depth, device=device)
        products = torch.zeros(places, depth, depth, device=device)
        count = 0
        for batch in normals():
            for images in batch.images.split(IMAGES):
                found = self.places(images)
                origin = origin if count else found.mean(dim=1, keepdim=True)  # sums about it lose no digits
                found -= origin
                sums += found.sum(dim=1)
                products.baddbmm_(found.mT, found)
                count += len(images)
        sums /= count
        check_count(count, NEEDED, "PaDiM")
        self._finish(origin[:, 0], sums, products, count)
        if report:
            report(f"Gaussians of {depth} channels at {places} places, from {count} normal slices")

    def _finish(self, origin: Tensor, offset: Tensor, products: Tensor, count: int) -> None:
        """Turn sums of products about `origin` into whitening factors, in place and some places at a time."""
        variance = products.diagonal(dim1=1, dim2=2) / count - offset.square()
        mean = origin + offset
        check_spread(float(variance.clamp(min=0).sum()), float(mean.square().sum()), count)
        eye = self.ridge * torch.eye(self.depth, dtype=torch.float64, device=mean.device)
        for part, shift in zip(products.split(LOCATIONS), offset.split(LOCATIONS), strict=True):
            centre = shift.double()
            covariance = part.double() / count - centre[:, :, None] * centre[:, None]
            part.copy_(whitening(covariance * (count / (count - 1)) + eye))
        self.mean, self.whiten = mean, products

    @torch.no_grad()
    def score(self, images: Tensor, *, maps: bool = False) -> Scored:
        """Score slices by the highest value of their map.

        Raises:
            DetectorError: If nothing was learned yet.
        """
        if not len(self.whiten):
            raise DetectorError("this detector was not fitted yet")
        found = [enlarge(self.distances(part), self.matrix) for part in images.split(IMAGES)]
        score = torch.cat([part.amax(dim=(1, 2)) for part in found])
        return Scored(score, torch.cat(found) if maps else None)

    def distances(self, images: Tensor) -> Tensor:
        """Mahalanobis distances at the cells of the finest grid, shape (M, h, h), of slices (M, C, S, S)."""
        side = self.finest.cells
        found = self.places(images)
        found -= self.mean[:, None]
        parts = zip(found.split(LOCATIONS), self.whiten.split(LOCATIONS), strict=True)
        flat = torch.cat([torch.bmm(rows, whiten).norm(dim=2) for rows, whiten in parts])
        return flat.T.reshape(len(images), side, side)

    def learned(self) -> dict[str, Tensor]:
        """Channels (d,), means (h w, d), and of W_p, W_p W_p' = P_p, the upper triangle row by row, (h w, d(d+1)/2)."""
        whiten = self.whiten.cpu()
        if not len(whiten):
            raise DetectorError("this detector was not fitted yet")
        row, column = torch.triu_indices(self.depth, self.depth)
        return {"chosen": self.chosen.cpu(), "mean": self.mean.cpu(), "whiten": whiten[:, row, column]}

    def take(self, learned: Mapping[str, Tensor]) -> None:
        """As of any detector."""
        places, depth = self.finest.cells**2, self.depth
        shapes = {"chosen": (depth,), "mean": (places, depth), "whiten": (places, depth * (depth + 1) // 2)}
        found = checked(learned, shapes, whole=("chosen",))
        chosen = found["chosen"]
        if not bool(((chosen >= 0) & (chosen < self.starts[-1])).all() and (chosen.diff() > 0).all()):
            raise DetectorError(f"stored detector: expected ascending channels below {self.starts[-1]}")
        device = self.input_mean.device
        row, column = torch.triu_indices(depth, depth)
        whiten = torch.zeros(places, depth, depth)
        whiten[:, row, column] = found["whiten"]
        self.chosen, self.mean, self.whiten = chosen.to(device), found["mean"].to(device), whiten.to(device)


def nearest_cells(fine: Grid, coarse: Grid) -> Tensor:
    """For each cell of a side of a fine grid the coarse cell whose centre is nearest, shape (fine.cells,), int64.

    Nearest by where the cells lie, the lower of two as near: repeating cells would shift a coarse stage by half a cell.
    """
    place = (fine.centres() - coarse.start) / coarse.step
    return (place - 0.5 - TIE).ceil().long().clamp(0, coarse.cells - 1)
