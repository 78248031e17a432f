"""What a scanner changes: noise, sharpness, resolution, evenness and grey scale. The body stays where it is.

Every operation takes bags (B, N, C, S, S) in [0, 1], one strength a bag, shape (B,), in -1..1, and a generator on the
CPU, and returns new bags in [0, 1]. Strength 0 changes nothing (beyond rounding); 1 and -1 are the bounds below.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Operation = Callable[[Tensor, Tensor, torch.Generator], Tensor]

SHOT = 0.01  # variance of the signal-dependent noise at white
READ = 0.04  # standard deviation of the noise that is there in the dark too
BLUR = 0.008  # standard deviation of the point spread, in sides of the image
BIAS = 0.4  # largest logarithm of the bias field
DEGREE = 3
GAMMA = 0.6  # largest logarithm of gamma
WINDOW = 0.15  # how far each end of the grey scale moves
COARSENESS = 3.0  # pixels of the image in one of the coarse detector, along an axis


def noise(slices: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Photon and read-out noise: y = x + sqrt(a x + b^2) n, n ~ N(0, 1) for each pixel, a = |u| SHOT, b = |u| READ.

    Source:
        Foi et al. 2008, Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data, eq. 1
        to 3, with the Poisson part by its normal approximation.
    """
    u = per_bag(strength.abs(), slices)
    drawn = torch.randn(slices.shape, generator=generator).to(slices.device)
    return (slices * (u * SHOT)).add_((u * READ) ** 2).sqrt_().mul_(drawn).add_(slices).clamp_(0, 1)


def blur(slices: Tensor, strength: Tensor, _generator: torch.Generator) -> Tensor:
    """A Gaussian point spread with standard deviation |u| BLUR S pixels; beyond the edge, the edge goes on."""
    side = slices.shape[-1]
    sigma = strength.abs() * BLUR * side
    kernel = gaussian_kernels(sigma, math.ceil(3 * BLUR * side)).to(slices.device)
    return _separable(slices, kernel).clamp_(0, 1)


def gaussian_kernels(sigma: Tensor, radius: int) -> Tensor:
    """Kernels exp(-k^2 / (2 sigma^2)) / sum, k = -radius..radius, shape (B, 2 radius + 1), of sigmas (B,) in pixels."""
    k = torch.arange(-radius, radius + 1).float()
    return (-(k**2) / (2 * sigma.clamp(min=0.01)[:, None] ** 2)).softmax(dim=1)


def _separable(slices: Tensor, kernel: Tensor) -> Tensor:
    """Convolve rows and columns of each bag with its own odd kernel, (B, K), with the edge repeated beyond it."""
    bags, count, channels, side, _ = slices.shape
    radius = kernel.shape[1] // 2
    planes = slices.reshape(1, bags, count * channels, side, side).flatten(1, 2)
    weights = kernel.repeat_interleave(count * channels, dim=0)[:, None, :, None]
    for turn in (weights, weights.transpose(2, 3)):
        edge = (0, 0, radius, radius) if turn is weights else (radius, radius, 0, 0)
        planes = functional.conv2d(functional.pad(planes, edge, mode="replicate"), turn, groups=planes.shape[1])
    return planes.reshape(slices.shape)


def resolution(slices: Tensor, strength: Tensor, _generator: torch.Generator) -> Tensor:
    """A coarser detector: each bag down to round(S / (1 + |u| (COARSENESS - 1))) pixels a side and up again.

    Down with antialiasing, which keeps the mean, up bilinearly.
    """
    side = slices.shape[-1]
    result = torch.empty_like(slices)
    for bag, factor in enumerate((1 + strength.abs() * (COARSENESS - 1)).tolist()):
        coarse = max(2, round(side / factor))
        small = functional.interpolate(slices[bag], (coarse, coarse), mode="bilinear", antialias=True)
        result[bag] = functional.interpolate(small, (side, side), mode="bilinear")
    return result.clamp_(0, 1)


def bias_field(slices: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Uneven sensitivity, as of a receive coil or a tube's heel: y = x exp(u BIAS f).

    f(p, q) = sum c_ij P_i(p) P_j(q) / sum |c_ij| over 1 <= i + j <= DEGREE, with Legendre polynomials on -1..1 and
    c_ij uniform in -1..1, so that |f| <= 1 and its mean over the image is 0. All slices of a bag share the field.

    Source:
        Sudre, Cardoso & Ourselin 2017 and MONAI's RandBiasField (the exponential of a polynomial), there without
        the bound.
    """
    pairs = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1) if 1 <= i + j <= DEGREE]
    drawn = torch.rand(len(slices), len(pairs), generator=generator) * 2 - 1
    weights = drawn / drawn.abs().sum(dim=1, keepdim=True).clamp(min=1e-6)
    table = torch.zeros(len(slices), DEGREE + 1, DEGREE + 1)
    rows, columns = zip(*pairs, strict=True)
    table[:, rows, columns] = weights
    basis = _legendre(slices.shape[-1])
    field = torch.einsum("bij,ip,jq->bpq", table, basis, basis) * (strength * BIAS)[:, None, None]
    return (slices * field.exp_().to(slices.device)[:, None, None]).clamp_(0, 1)


def _legendre(side: int) -> Tensor:
    """Legendre polynomials of degree 0..DEGREE at the centres of `side` pixels over -1..1, (DEGREE + 1, side)."""
    x = (torch.arange(side) + 0.5) * 2 / side - 1
    found = [torch.ones(side), x]
    for n in range(1, DEGREE):
        found.append(((2 * n + 1) * x * found[n] - n * found[n - 1]) / (n + 1))
    return torch.stack(found)


def gamma(slices: Tensor, strength: Tensor, _generator: torch.Generator) -> Tensor:
    """Another grey-scale curve: y = x^exp(u GAMMA); black and white stay."""
    return slices.clamp(1e-6, 1) ** per_bag((strength * GAMMA).exp(), slices)


def window(slices: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Another display window: y = (x - l) / (h - l), l = |u| WINDOW r, h = 1 + |u| WINDOW s, r, s uniform in -1..1."""
    ends = (torch.rand(2, len(slices), generator=generator) * 2 - 1) * strength.abs() * WINDOW
    low, high = per_bag(ends[0], slices), per_bag(1 + ends[1], slices)
    return (slices - low).div_(high - low).clamp_(0, 1)


def per_bag(values: Tensor, slices: Tensor) -> Tensor:
    """One number a bag, shaped to go with bags."""
    return values.to(slices.device).view(-1, 1, 1, 1, 1)


ACQUISITION: dict[str, Operation] = {  # in the order in which an image comes about
    "bias_field": bias_field,
    "blur": blur,
    "resolution": resolution,
    "noise": noise,
    "gamma": gamma,
    "window": window,
}
