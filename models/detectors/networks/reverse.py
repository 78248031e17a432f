"""The student of reverse distillation: it gets the teacher's maps squeezed into one, and has to give them back."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.cells import Grid

WIDEST = 256
EMBEDDED = 512


class ReverseStudent(nn.Module):
    """Bottleneck (multi-scale fusion, one-class embedding) and decoder for the maps of any stages.

    Fusion: each map goes through 3x3 convolutions of stride 2 until it has the last one's size; joined, a 1x1
    convolution mixes them. Embedding: a residual block of stride 2. Decoder: from the last stage to the first, enlarge
    to the stage's size, a residual block, and a 1x1 convolution to the stage's channels, without an activation, since
    not every network's maps are positive.

    Args:
        grids: Of the compared stages, from stem to top.

    Source:
        Deng & Li 2022, figure 3 and section 3.3. There the decoder is the encoder turned round; here one block a stage
        and at most 256 channels (512 embedded) do for every network, about 8 million weights for ResNet-18.
    """

    def __init__(self, grids: Sequence[Grid]) -> None:
        super().__init__()
        self.sizes = [grid.cells for grid in grids]
        widths = [min(grid.channels, WIDEST) for grid in grids]
        embedded = min(2 * widths[-1], EMBEDDED)
        self.shrink = nn.ModuleList(_shrink(grid, grids[-1], widths[-1]) for grid in grids)
        self.mix = _convolution(widths[-1] * len(grids), widths[-1], kernel=1)
        self.embed = Residual(widths[-1], embedded, stride=2)
        rising = [embedded, *reversed(widths)]
        self.blocks = nn.ModuleList(Residual(wide, narrow) for wide, narrow in pairwise(rising))
        self.heads = nn.ModuleList(
            nn.Conv2d(width, grid.channels, 1) for width, grid in zip(reversed(widths), reversed(grids), strict=True)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (B, C, h, w) of the stages to what the student makes of them, in the same order and shapes."""
        shrunk = [_sized(shrink(cells), self.sizes[-1]) for shrink, cells in zip(self.shrink, maps, strict=True)]
        here = self.embed(self.mix(torch.cat(shrunk, dim=1)))
        given: list[Tensor] = []
        for size, block, head in zip(reversed(self.sizes), self.blocks, self.heads, strict=True):
            here = block(_sized(here, size))
            given.append(head(here))
        return given[::-1]


class Residual(nn.Module):
    """ReLU(f(x) + g(x)): f two 3x3 convolutions, g one 1x1, batch norm after each; from C channels to D."""

    def __init__(self, channels: int, wanted: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _convolution(channels, wanted, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(wanted, wanted, 3, padding=1, bias=False), nn.BatchNorm2d(wanted))
        self.short = nn.Sequential(nn.Conv2d(channels, wanted, 1, stride, bias=False), nn.BatchNorm2d(wanted))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to (B, D, h / stride, w / stride)."""
        return functional.relu(self.second(self.first(maps)) + self.short(maps))


def _convolution(channels: int, wanted: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, wanted, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(wanted), nn.ReLU(inplace=True))


def _shrink(grid: Grid, last: Grid, width: int) -> nn.Module:
    halvings = max(round(math.log2(last.step / grid.step)), 0)
    if not halvings and grid.channels == width:
        return nn.Identity()
    if not halvings:
        return _convolution(grid.channels, width, kernel=1)
    rising = [min(grid.channels, WIDEST), *(min(grid.channels * 2**n, width) for n in range(1, halvings)), width]
    first = _convolution(grid.channels, rising[1], stride=2)
    return nn.Sequential(first, *(_convolution(rising[n], rising[n + 1], stride=2) for n in range(1, halvings)))


def _sized(maps: Tensor, size: int) -> Tensor:
    """Maps brought to a size by nearest cells where they have another, as without padding or with odd sizes."""
    return maps if maps.shape[2] == size else functional.interpolate(maps, size=(size, size))
