"""PatchCore: how far the patches of a slice are from the nearest of a bank of normal patches."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from models.backbones import Backbone
from models.detectors.cells import Grid, enlarge
from models.detectors.coreset import CoreSet
from models.detectors.detector import Detector, Normals, Report, Scored
from models.detectors.nearest import Nearest
from models.detectors.stored import check_count, checked
from models.errors import DetectorError

SLICES = 8


class PatchCore(Detector):
    """Memory bank of normal patches, a core-set of all that were seen.

    A patch is the 3 x 3 average of a cell's neighbourhood in the maps of strides 8 and 16, the coarser brought to the
    finer one's cells by bilinear interpolation between where its own cells really lie. The map is each patch's
    distance to its nearest patch in the bank. With s* the largest distance, m the patch that has it, m* its nearest
    in the bank and N the k nearest of m* in the bank (m* among them), a slice's score is
        s = (1 - exp(|m - m*|) / sum_{n in N} exp(|m - n|)) s*

    Memory: `buffer` patches at most, and those of eight slices, whatever the number of slices. Work: of each slice
    so many patches are drawn by chance that `candidates` are looked at in all: all 784 of each of 1,200 radiographs at
    224 px, 33 of each of 30,000 slices. In bfloat16 (`reduced`) the search is so too.
    Which patches are kept depends on chance: with a small bank (525 of a million) AUROC scattered by 0.02 over seeds.

    Args:
        bank: Most patches in the bank.
        buffer: Most patches in memory while fitting.
        candidates: Most patches looked at while fitting, about; every slice gives at least one.

    Source:
        Roth et al. 2022, Towards Total Recall in Industrial Anomaly Detection, sec. 3 and eq. 6-7.
    """

    strides: ClassVar[tuple[int, ...]] = (8, 16)
    neighbours: ClassVar[int] = 9
    sigma: ClassVar[float] = 4.0

    def __init__(
        self,
        backbone: Backbone,
        *,
        image_size: int,
        stages: tuple[str, ...] = (),
        seed: int = 0,
        reduced: bool = False,
        bank: int = 10_000,
        buffer: int = 60_000,
        candidates: int = 1_000_000,
    ) -> None:
        super().__init__(backbone, image_size=image_size, stages=stages, seed=seed, reduced=reduced)
        self.bank_size, self.buffer, self.candidates = bank, buffer, candidates
        fine, *coarse = (self.grids[name] for name in self.stages)
        self.grid = fine
        self.width = sum(self.grids[name].channels for name in self.stages)
        for n, grid in enumerate(coarse):
            self.register_buffer(f"between{n}", between(grid, fine), persistent=False)
        self.register_buffer("bank", torch.empty(0, self.width), persistent=False)
        self.register_buffer("rows", fine.enlarge(image_size, self.sigma), persistent=False)

    bank: Tensor
    rows: Tensor

    def patches(self, images: Tensor) -> Tensor:
        """Patch features of slices (M, C, S, S) in [0, 1], shape (M, h h, F), float32."""
        fine, *coarse = (functional.avg_pool2d(maps, 3, 1, 1) for maps in self.stage_maps(images))
        found = [fine]
        for n, maps in enumerate(coarse):
            found.append(enlarge(maps.flatten(0, 1), self.get_buffer(f"between{n}")).unflatten(0, maps.shape[:2]))
        return torch.cat(found, dim=1).flatten(2).transpose(1, 2)

    def fit(self, normals: Normals, *, report: Report | None = None) -> None:
        """See the base class; the stream is gone through once, shuffled.

        Raises:
            DetectorError: If there are fewer than two slices, or all are the same, or their features are.
        """
        slices = normals.slices
        check_count(slices, 2, "PatchCore")
        coreset = CoreSet(size=self.bank_size, cap=self.buffer, seed=self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        each = min(self.grid.cells**2, max(1, self.candidates // slices))
        first, alike = torch.empty(0), True
        for batch in normals(0):
            first = first if len(first) else batch.images[:1].clone()
            alike = alike and bool((batch.images == first).all())
            for images in batch.images.split(SLICES):
                patches = self.patches(images)
                drawn = torch.rand(patches.shape[:2], generator=generator).topk(each, dim=1).indices
                for one, places in zip(patches, drawn.to(patches.device), strict=True):
                    coreset.add(one[places])
        if alike:
            raise DetectorError(f"PatchCore: all {slices} normal slices are the same image")
        self.take({"bank": coreset.finish()})
        if report:
            report(f"a bank of {len(self.bank)} patches stands for {slices * each} of {slices} normal slices")

    @torch.no_grad()
    def score(self, images: Tensor, *, maps: bool = False) -> Scored:
        """See the base class; slices are compared with the bank one by one."""
        if not len(self.bank):
            raise DetectorError("this detector was not fitted yet")
        nearest = Nearest(self.bank, reduced=self.reduced)
        scores: list[Tensor] = []
        distances: list[Tensor] = []
        for part in images.split(SLICES):
            for patches in self.patches(part):
                gaps, which = nearest(patches)
                scores.append(self._reweighted(patches, gaps, which))
                distances.append(gaps)
        cells = self.grid.cells
        grid = torch.stack(distances).view(-1, cells, cells)
        return Scored(torch.stack(scores), enlarge(grid, self.rows) if maps else None)

    def _reweighted(self, patches: Tensor, gaps: Tensor, which: Tensor) -> Tensor:
        """Score of a slice, a scalar, of its patches (P, F), their distances to the bank and nearest rows, (P,)."""
        at = int(gaps.argmax())
        from_nearest = (self.bank - self.bank[which[at]]).norm(dim=1)
        around = from_nearest.topk(min(self.neighbours, len(self.bank)), largest=False).indices
        around = torch.cat([which[at][None], around[around != which[at]]])[: self.neighbours]
        share = torch.softmax((patches[at] - self.bank[around]).norm(dim=1), dim=0)[0]
        return (1 - share) * gaps[at]

    def learned(self) -> dict[str, Tensor]:
        """The bank, shape (K, F)."""
        return {"bank": self.bank.cpu().clone()}

    def take(self, learned: Mapping[str, Tensor]) -> None:
        """See the base class."""
        bank = checked(learned, {"bank": (None, self.width)})["bank"]
        if not 2 <= len(bank) <= self.bank_size:
            raise DetectorError(f"PatchCore: a bank of {len(bank)} patches; expected 2 to {self.bank_size} that differ")
        self.bank = bank.to(self.input_mean.device)


def between(coarse: Grid, fine: Grid) -> Tensor:
    """Matrix (fine cells, coarse cells) of linear interpolation at the fine cells' centres, constant outside."""
    place = ((fine.centres() - coarse.start) / coarse.step).clamp(0, coarse.cells - 1)
    distance = (place[:, None] - torch.arange(coarse.cells, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).float()
