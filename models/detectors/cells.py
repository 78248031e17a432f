"""Where the cells of a feature map lie on the image: needed to point at the right pixel.

A stride-8 map is often enlarged as if cell i covered pixels 8i to 8i + 7. In a padded network the middle of what
cell i sees is pixel 8i or near it, so such maps point some pixels off.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.backbones import Backbone
from models.errors import ModelError

STRIP = 2048
NOT_SUMS = (nn.BatchNorm2d, nn.LayerNorm, nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish)


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of a stage's map along each side of a square image.

    Attributes:
        cells: Number of cells a side.
        start, step: Cell i is centred at pixel start + step i; pixel 0 is the middle of the first one.
        channels: C of the map.
    """

    cells: int
    start: float
    step: float
    channels: int

    def centres(self) -> Tensor:
        """Centres in pixels, shape (cells,)."""
        return self.start + self.step * torch.arange(self.cells, dtype=torch.float64)

    def enlarge(self, size: int, sigma: float = 0.0) -> Tensor:
        """The matrix (size, cells) that takes a map's side to pixels: linear between centres, constant outside.

        Args:
            size: Side of the image in pixels.
            sigma: Standard deviation in pixels of a Gaussian smoothing that follows, reflected at the border.
        """
        place = ((torch.arange(size, dtype=torch.float64) - self.start) / self.step).clamp(0, self.cells - 1)
        left = place.floor().long().clamp(max=max(self.cells - 2, 0))
        matrix = torch.zeros(size, self.cells, dtype=torch.float64)
        share = place - left
        rows = torch.arange(size)
        matrix[rows, left] += 1 - share
        matrix[rows, (left + 1).clamp(max=self.cells - 1)] += share
        return (gaussian(size, sigma) @ matrix if sigma > 0 else matrix).float()


def gaussian(size: int, sigma: float) -> Tensor:
    """Matrix (size, size) of a Gaussian cut at 4 sigma and reflected at the border (d c b a | a b c d)."""
    reach = min(int(4 * sigma + 0.5), size)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    weights = weights / weights.sum()
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for offset, weight in zip(offsets.tolist(), weights, strict=True):
        place = torch.arange(size) + offset
        place = torch.where(place < 0, -1 - place, place)
        place = torch.where(place >= size, 2 * size - 1 - place, place)
        matrix[torch.arange(size), place] += weight
    return matrix


def enlarge(maps: Tensor, rows: Tensor) -> Tensor:
    """Square maps (M, h, h) to (M, S, S) by a matrix (S, h) on both sides."""
    return rows @ maps @ rows.T


@torch.inference_mode(False)
@torch.enable_grad()
def stage_grids(backbone: Backbone, image_size: int) -> dict[str, Grid]:
    """The grid of every stage's map, measured on the network itself.

    In a copy whose kernels are all alike and which has neither norm nor activation, the gradient of one cell spreads
    evenly over what the cell sees; its centre of mass is the cell's centre. Squeeze-and-excitation is left out, since
    it looks at the whole image.

    Raises:
        ModelError: If the network is not divided into stages, as timm's are not.
    """
    if not backbone.stages:
        raise ModelError(f"{backbone.name}: its stages are not known, which detectors need; take one of torchvision's")
    probe = _evened(backbone)
    strip = torch.ones(1, 3, STRIP, backbone.min_size, requires_grad=True)  # long, so that no cell sees its ends
    plain = torch.zeros(1, 3, image_size, image_size)
    grids: dict[str, Grid] = {}
    long: Tensor = strip
    for name, stage in probe.stages.items():
        long, plain = stage(long), stage(plain)
        middle = long.shape[2] // 2
        first, second = _centre(strip, long, middle - 1), _centre(strip, long, middle)
        step = round(second - first, 3)
        grids[name] = Grid(int(plain.shape[2]), round(second - step * middle, 2), step, int(plain.shape[1]))
    return grids


def _centre(strip: Tensor, maps: Tensor, row: int) -> float:
    (gradient,) = torch.autograd.grad(maps[0, :, row].sum(), strip, retain_graph=True)
    weight = gradient[0].abs().sum(dim=(0, 2)).double()
    return float((weight * torch.arange(len(weight))).sum() / weight.sum())


def _evened(backbone: Backbone) -> Backbone:
    """A copy with equal positive kernels, average instead of maximum pooling, and nothing that is not a sum."""
    probe = copy.deepcopy(backbone).eval().requires_grad_(False).float().cpu()
    for module in list(probe.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.fill_(1 / module.weight[0].numel())
            if module.bias is not None:
                module.bias.zero_()
    _replace(probe)
    return probe


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d):
            even = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, ceil_mode=child.ceil_mode)
            setattr(module, name, even)
        elif isinstance(child, nn.AdaptiveAvgPool2d):
            setattr(module, name, _Ones())
        elif isinstance(child, NOT_SUMS):
            setattr(module, name, nn.Identity())
        else:
            _replace(child)


class _Ones(nn.Module):
    """Stands in for a global pooling, whose gate then looks at nothing."""

    def forward(self, maps: Tensor) -> Tensor:
        """Ones of shape (B, C, 1, 1)."""
        return torch.ones(*maps.shape[:2], 1, 1)
