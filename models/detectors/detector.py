"""What every normal-only anomaly detector is: fitted on slices of normal scans, it scores slices and maps where."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from models.backbones import Backbone
from models.detectors.cells import Grid, stage_grids

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class SliceBatch:
    """Slices of normal scans.

    Attributes:
        images: Shape (M, C, S, S) in [0, 1], C = 1 or 3.
        index: Shape (M,), int64: which scan a slice belongs to.
    """

    images: Tensor
    index: Tensor


class Normals(Protocol):
    """A stream of normal slices that can be gone through again; never more than a batch of it is in memory."""

    @property
    def slices(self) -> int:
        """Number of slices in all."""

    def __call__(self, epoch: int | None = None) -> Iterator[SliceBatch]:
        """Batches in the order of the scans, or shuffled by seed and epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a detector says of slices; larger is less normal.

    Attributes:
        score: Shape (M,), float32, >= 0.
        maps: Shape (M, S, S), float32, aligned with the pixels of the slices; None if not asked for, or if the detector
            looks at pooled features only and has none.
    """

    score: Tensor
    maps: Tensor | None


class Detector(nn.Module, ABC):
    """Base of all detectors: a frozen backbone, and what was learned from normal slices.

    Args:
        backbone: Feature extractor with its weights; it stays in evaluation mode and gets no gradient.
        image_size: Side S of the slices in pixels.
        stages: Stages whose maps are used, from stem to top; empty takes the detector's own choice by `strides`.
        seed: Of everything random.
        reduced: Whether the backbone runs in bfloat16, in fitting and in scoring alike.

    Attributes:
        strides: Strides of the stages used by default: the last stage of each.
        has_maps: Whether it says where.
        peaks: Whether a slice's score is the peak of its map, or below it, so that a threshold of scores parts pixels.
    """

    strides: ClassVar[tuple[int, ...]] = (4, 8, 16)
    has_maps: ClassVar[bool] = True
    peaks: ClassVar[bool] = True

    def __init__(
        self,
        backbone: Backbone,
        *,
        image_size: int,
        stages: tuple[str, ...] = (),
        seed: int = 0,
        reduced: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.image_size, self.seed, self.reduced = image_size, seed, reduced
        self.grids: dict[str, Grid] = stage_grids(backbone, image_size)
        self.stages = stages or default_stages(self.grids, self.strides)
        self.register_buffer("input_mean", torch.tensor(backbone.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("input_std", torch.tensor(backbone.std).view(1, 3, 1, 1), persistent=False)

    input_mean: Tensor
    input_std: Tensor

    def train(self, mode: bool = True) -> "Detector":
        """As of any module, but the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def normalise(self, images: Tensor) -> Tensor:
        """Slices (M, 1 or 3, S, S) in [0, 1] to what the backbone expects, (M, 3, S, S), channels last."""
        three = (images.expand(-1, 3, -1, -1) - self.input_mean) / self.input_std
        return three.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def stage_maps(self, images: Tensor) -> list[Tensor]:
        """Maps of the detector's stages, shape (M, C, h, w) each, float32, of slices in [0, 1].

        No stage after the last one needed is run.
        """
        found: list[Tensor] = []
        with self.mixed(images.device):
            here = self.normalise(images)
            for name, stage in self.backbone.stages.items():
                here = stage(here)
                if name in self.stages:
                    found.append(here.float())
                if name == self.stages[-1]:
                    break
        return found

    def pooled_first(self, images: Tensor) -> Tensor:
        """Mean of the first used stage's map, shape (M, C), of slices in [0, 1]: a pass that scores nothing."""
        return self.stage_maps(images)[0].mean(dim=(2, 3))

    def mixed(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """Autocast to bfloat16 if the detector was made so."""
        return torch.autocast(device.type, dtype=torch.bfloat16) if self.reduced else contextlib.nullcontext()

    @abstractmethod
    def fit(self, normals: Normals, *, report: Report | None = None) -> None:
        """Learn what is normal. The module and the slices' batches are on one device (`self.input_mean.device`).

        Raises:
            DetectorError: If the slices are too few, or all alike.
        """

    @abstractmethod
    def score(self, images: Tensor, *, maps: bool = False) -> Scored:
        """Score slices (M, C, S, S) in [0, 1]; each slice's score depends on nothing but itself."""

    @abstractmethod
    def learned(self) -> dict[str, Tensor]:
        """What `fit` learned, on the CPU, to be stored; the backbone is not in it."""

    @abstractmethod
    def take(self, learned: Mapping[str, Tensor]) -> None:
        """Take what `learned` gave, of the same settings.

        Raises:
            DetectorError: If names, shapes or kinds do not fit, or a value is not finite.
        """


def default_stages(grids: Mapping[str, Grid], strides: tuple[int, ...]) -> tuple[str, ...]:
    """The last stage of each stride; where none has it, as after a cut, it is left out, but one is always kept."""
    last = {round(grid.step): name for name, grid in grids.items()}
    found = tuple(last[stride] for stride in strides if stride in last)
    return found or (list(grids)[-1],)
