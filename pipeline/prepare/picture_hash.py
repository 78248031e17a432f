"""A perceptual hash of prepared scans: copies of one picture differ in few bits, two patients' pictures in many.

The common 64-bit hashes keep the coarsest shapes of a picture, and those are the same in every chest. Here they are
left out; what counts is detail of 4 to 32 half waves a side, by rank so that brightness, contrast, gamma and window
hardly matter, faded out towards the edge so that markers and borders hardly do.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from pipeline.prepare.samples import LEVELS

Levels = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint64]

BITS = 512
WORDS = BITS // 64
SIDE = 64
GREYS = 256
LOWEST, HIGHEST = 4, 32  # half waves a side
FADE = 0.35  # of the side, from the edge
SLABS = 3  # of a volume
SCALES = (1.0, 0.92, 0.94, 0.96, 0.98, 1.02, 1.04, 1.06, 1.08)
DEGREES = (0.0, -2.0, -1.0, 1.0, 2.0)
LEAST_DETAIL = 2000.0  # length of D; a ramp has 1,400, 1,668 radiographs had 9,700 or more


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """A single thread for what is in here: on work of a millisecond, threads wait for each other longer than they help.

    Beside other processes that took 40 times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def detail(slices: Levels, slabs: int, *, moved: bool = True) -> Floats:
    """What a scan is recognised by, as it is and under small scalings and turns.

    A thumbnail is taken of 64 x 64 pixels, of a volume one of each third. Its greys are replaced by their ranks q in
    -1/2..1/2, and

    D(u, v) = r^2 sum_(y, x) f(y) f(x) cos(pi u y) cos(pi v x) q(y, x),    r = hypot(u, v), 4 <= r < 32,

    where y and x run from 0 to 1, and the fade f rises from 0 at the edges to 1 at 0.35 of the side as a half
    cosine. Scaling by s about the middle puts y at 1/2 + (y - 1/2) / s. Each row has length 1.

    Args:
        slices: A prepared scan, shape (N, C, S, S).
        slabs: 1, or 3 for a volume.
        moved: Whether to scale and turn it.

    Returns:
        Shape (V, F): as it is in row 0, then scaled by 0.92 to 1.08 and turned by -2 to 2 degrees; V = 45, or 1,
        F = 818 a slab. No row (0, F) where there is no detail to go by.
    """
    ranks = _ranks(_thumbnails(slices, slabs))
    ranks = _turned(ranks) if moved else ranks[None]
    waves, weight = _waves(len(SCALES) if moved else 1), _weight()
    chosen = np.flatnonzero(weight)
    found = torch.empty(len(waves), len(ranks), slabs, len(chosen))
    for n, wave in enumerate(waves):
        found[n] = (wave @ ranks @ wave.T).flatten(2)[..., chosen]
    rows = (found * torch.from_numpy(weight[chosen])).flatten(2).flatten(0, 1).numpy()
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if length[0] < LEAST_DETAIL:
        return rows[:0]
    unit: Floats = rows / np.maximum(length, np.finfo(np.float32).tiny)
    return unit


def picture_bits(rows: Floats, salt: str) -> Words:
    """Signs of 512 projections whose +-1 weights come out of a salt; rows of angle a differ in a / pi of them.

    Args:
        rows: Of `detail`, shape (V, F).
        salt: Hex; hashes under two salts cannot be compared bit by bit.

    Returns:
        Shape (V, 8), 512 bits a row.

    Source:
        Charikar 2002, Similarity estimation techniques from rounding algorithms, section 3.
    """
    signs = rows @ _projection(salt, rows.shape[1]) > 0
    return np.packbits(signs, axis=1).view(np.uint64)


def picture_hash(slices: Levels, slabs: int, salt: str) -> Words:
    """The hash of a scan as it is, shape (1, 8), or (0, 8) where it has no detail to go by."""
    return picture_bits(detail(slices, slabs, moved=False), salt)


def _thumbnails(slices: Levels, slabs: int) -> Tensor:
    """Mean of colours and of the slices of each part, shape (slabs, 64, 64), 0..1."""
    count = len(slices)
    edges = [(count * n // slabs, -(-count * (n + 1) // slabs)) for n in range(slabs)]
    grey = slices.mean(axis=1, dtype=np.float32) / np.float32(LEVELS)
    parts = torch.from_numpy(np.stack([grey[start:stop].mean(axis=0) for start, stop in edges]))
    size = (SIDE, SIDE)
    return functional.interpolate(parts[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


def _ranks(pictures: Tensor) -> Tensor:
    """Each of 256 greys replaced by the share of pixels below it and half of those that have it, less 1/2."""
    greys = (pictures * (GREYS - 1)).round_().clamp_(0, GREYS - 1).to(torch.uint8).numpy()
    ranks = np.empty(greys.shape, np.float32)
    for n, grey in enumerate(greys):
        counts = np.bincount(grey.ravel(), minlength=GREYS)
        share = (np.cumsum(counts) - counts / 2) / grey.size - 0.5
        ranks[n] = share.astype(np.float32)[grey]
    return torch.from_numpy(ranks)


def _turned(pictures: Tensor) -> Tensor:
    """Turned about the middle, shape (len(DEGREES), slabs, 64, 64)."""
    slabs = len(pictures)
    copies = pictures.expand(len(DEGREES), slabs, SIDE, SIDE)
    return functional.grid_sample(copies, _grid(), align_corners=False, padding_mode="border")


@cache
def _grid() -> Tensor:
    angle = torch.tensor(DEGREES).deg2rad()
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros(len(DEGREES))
    turns = torch.stack([torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)], 1)
    return functional.affine_grid(turns, [len(DEGREES), 1, SIDE, SIDE], align_corners=False)


@cache
def _waves(count: int) -> tuple[Tensor, ...]:
    """Faded cosines (32, 64) for the first `count` scales."""
    pixel = (np.arange(SIDE) + 0.5) / SIDE
    found = []
    for scale in SCALES[:count]:
        place = 0.5 + (pixel - 0.5) / scale
        inside = np.clip(np.minimum(place, 1 - place) / FADE, 0, 1)
        fade = 0.5 - 0.5 * np.cos(np.pi * inside)
        wave = np.cos(np.pi * np.arange(HIGHEST)[:, None] * place) * fade
        found.append(torch.from_numpy(wave.astype(np.float32)))
    return tuple(found)


@cache
def _weight() -> Floats:
    """r^2 of each (u, v), flattened; 0 outside of the band."""
    half_waves = np.arange(HIGHEST)
    r = np.hypot(half_waves[:, None], half_waves)
    return np.where((r >= LOWEST) & (r < HIGHEST), r**2, 0).astype(np.float32).ravel()


@lru_cache(maxsize=4)
def _projection(salt: str, size: int) -> Floats:
    """+1 and -1, shape (size, 512), from the bits of SHAKE-256 of the salt, so that every machine has the same."""
    stream = hashlib.shake_256(bytes.fromhex(salt)).digest(size * BITS // 8)
    bits = np.unpackbits(np.frombuffer(stream, np.uint8)).reshape(size, BITS)
    return bits.astype(np.float32) * 2 - 1
