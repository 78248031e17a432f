"""k nearest neighbours among the pooled features of normal slices."""

from collections.abc import Mapping

import torch
from torch import Tensor

from models.backbones import Backbone
from models.detectors.detector import Normals, Report, Scored
from models.detectors.pooled import PooledDetector, Scaling
from models.detectors.stored import check_count, check_spread, checked
from models.errors import DetectorError

SPARE = 6


class NearestNeighbours(PooledDetector):
    """Score = mean over the k nearest normal slices n of ||f - f_n||, on pooled features of length 1.

    Memory: the features of at most `max_rows` slices, a random choice by seed where there are more, so
    4 max_rows F bytes: 41 MB for resnet18's 512 features.

    Args:
        k: Number of neighbours. The paper has 2; on guangzhou's training radiographs 5 did as well, and better where
            5 % of the normal ones were mislabelled.
        max_rows: Most normal slices kept.
        scaling: See `PooledDetector`; the paper's is `none`.

    Source:
        Bergman, Cohen & Hoshen 2020, Deep Nearest Neighbor Anomaly Detection (DN2).
    """

    bank: Tensor
    divisor: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        image_size: int,
        stages: tuple[str, ...] = (),
        seed: int = 0,
        reduced: bool = False,
        scaling: Scaling = "l2",
        k: int = 5,
        max_rows: int = 20_000,
    ) -> None:
        super().__init__(backbone, image_size=image_size, stages=stages, seed=seed, reduced=reduced, scaling=scaling)
        self.k, self.max_rows = k, max_rows
        self.register_buffer("bank", torch.empty(0, self.num_features), persistent=False)
        self.register_buffer("divisor", torch.ones(self.num_features), persistent=False)

    def fit(self, normals: Normals, *, report: Report | None = None) -> None:
        """Keep the features of the normal slices.

        Raises:
            DetectorError: If there are fewer slices than neighbours, or their features are all alike.
        """
        check_count(normals.slices, self.k, f"k nearest neighbours with k = {self.k}")
        kept = self._kept(normals.slices)
        bank, filled, seen = torch.empty(int(kept.sum()), self.num_features), 0, 0
        for rows in self.rows(normals):
            chosen = rows.cpu()[kept[seen : seen + len(rows)]]
            bank[filled : filled + len(chosen)] = chosen
            filled, seen = filled + len(chosen), seen + len(rows)
        variance = bank.double().var(dim=0, correction=0)
        check_spread(float(variance.sum()), float(bank.double().square().mean(dim=0).sum()), seen)
        divisor = self.divisors(variance).float()
        self.take({"bank": bank / divisor, "divisor": divisor, "neighbours": torch.tensor([self.k])})
        if report:
            report(f"kept the features of {len(bank)} of {seen} normal slices")

    def _kept(self, slices: int) -> Tensor:
        """Which slices are kept, shape (slices,): all, or a random choice of `max_rows`."""
        order = torch.randperm(slices, generator=torch.Generator().manual_seed(self.seed))
        kept = torch.zeros(slices, dtype=torch.bool)
        kept[order[: self.max_rows]] = True
        return kept

    @torch.no_grad()
    def score(self, images: Tensor, *, maps: bool = False) -> Scored:
        """Mean distance of each slice to its k nearest normal slices; there is no map.

        Raises:
            DetectorError: If nothing was learned yet.
        """
        if not len(self.bank):
            raise DetectorError("this detector was not fitted yet")
        return Scored(self._distance(self.pooled(images) / self.divisor), None)

    def _distance(self, rows: Tensor) -> Tensor:
        """Mean distance (M,) of rows (M, F) to their k nearest ones of the bank.

        A product of matrices finds a few more candidates than needed; their distances are then worked out from the
        differences, since ||a||^2 + ||b||^2 - 2ab loses the digits of small distances.
        """
        middle = self.bank.mean(dim=0)
        rough = torch.cdist(rows - middle, self.bank - middle)
        near = rough.topk(min(self.k + SPARE, len(self.bank)), largest=False).indices
        exact = (rows[:, None] - self.bank[near]).norm(dim=2)
        nearest: Tensor = exact.topk(self.k, largest=False).values
        return nearest.mean(dim=1)

    def learned(self) -> dict[str, Tensor]:
        """Bank (R, F) of scaled features, what features are divided by, (F,), and the number of neighbours, (1,)."""
        return {"bank": self.bank.cpu(), "divisor": self.divisor.cpu(), "neighbours": torch.tensor([self.k])}

    def take(self, learned: Mapping[str, Tensor]) -> None:
        """As of any detector; the number of neighbours is the stored one, and at least as many rows are needed."""
        features = self.num_features
        shapes: dict[str, tuple[int | None, ...]] = {
            "bank": (None, features),
            "divisor": (features,),
            "neighbours": (1,),
        }
        found = checked(learned, shapes, whole=("neighbours",))
        k = int(found["neighbours"])
        if k < 1:
            raise DetectorError(f"stored detector: {k} neighbours, at least 1 is needed")
        check_count(len(found["bank"]), k, f"k nearest neighbours with k = {k}")
        if len(found["bank"]) > self.max_rows or not bool((found["divisor"] > 0).all()):
            raise DetectorError(f"stored detector: expected at most {self.max_rows} rows, and divisors above 0")
        self.k = k
        self.bank = found["bank"].to(self.input_mean.device)
        self.divisor = found["divisor"].to(self.input_mean.device)
