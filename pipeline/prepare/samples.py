"""The one preparation of scans for the network, the same in training and in scoring.

Its settings are fixed at training, saved in the bundle and read from there for scoring.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional

from pipeline.config import CropRule, IntensityRule
from pipeline.errors import Reason, ScanError
from pipeline.prepare.crop import foreground, whole
from pipeline.prepare.harmonise import Harmonise
from pipeline.prepare.intensity import value_range
from pipeline.prepare.orient import Turn, lps_turn
from pipeline.prepare.way_back import Layout
from pipeline.scan import Kind, Scan, modality_group

VERSION = 2  # raised whenever the same settings would give other pixels
LEVELS = 65535
CHUNK = 32


class Preparation(BaseModel):
    """How a scan becomes a bag of slices.

    Attributes:
        kind: Kind of scan that the bundle is for; another is refused.
        modality: Modality group that the bundle is for; another is refused.
        image_size: Side S of the square slices in pixels.
        slices: Most slices N of a bag; thicker stacks are averaged into N slabs, so that no slice is skipped.
        intensity, window: See `pipeline.prepare.intensity.value_range`.
        harmonise: The standard that grey values are brought to, as the last step; None leaves them.
        crop: `foreground` leaves dark flat borders out, see `pipeline.prepare.crop`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    modality: str
    image_size: int
    slices: int
    intensity: IntensityRule
    window: tuple[float, float] | None = None
    harmonise: Harmonise | None = None
    crop: CropRule = "none"

    def digest(self) -> str:
        """A short hash of the settings and of this module's version, for cache keys.

        Without harmonisation or crop the hash is that of the other settings alone, so that caches and bundles from
        before there was any stay valid.
        """
        unset = {name for name, off in (("harmonise", self.harmonise is None), ("crop", self.crop == "none")) if off}
        text = self.model_dump_json(exclude=unset)
        return hashlib.sha256(f"{VERSION}|{text}".encode()).hexdigest()[:16]

    def plain(self) -> "Preparation":
        """The same preparation without harmonisation."""
        return self.model_copy(update={"harmonise": None})


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One prepared scan.

    Attributes:
        slices: Grey or colour slices, shape (N, C, S, S), C = 1 or 3, uint16, 0..65535 for 0..1. Sixteen bits
            keep every grey level of 12-bit detectors at half the memory of float32.
        layout: Where they lie in the scan.
    """

    slices: npt.NDArray[np.uint16]
    layout: Layout


def check_applicable(scan: Scan, preparation: Preparation) -> None:
    """Refuse a scan of another kind or modality than the bundle was trained on.

    Raises:
        ScanError: `NOT_APPLICABLE`.
    """
    found, group = scan.kind, modality_group(scan.modality)
    if found != preparation.kind:
        raise ScanError(Reason.NOT_APPLICABLE, f"a {found}; this bundle is for a {preparation.kind}")
    if group != preparation.modality:
        raise ScanError(Reason.NOT_APPLICABLE, f"modality {group}; this bundle is for {preparation.modality}")


def prepare(scan: Scan, preparation: Preparation) -> Sample:
    """Orient, crop, scale, resize, slice and harmonise a scan.

    Volumes are turned to patient axes (slices axial, patient's left on the right of the image) and cropped if asked
    for; every slice is resized to S x S with antialiasing; volumes of more than N slices are averaged into N slabs.

    Raises:
        ScanError: `NOT_APPLICABLE` for another kind or modality, `NO_CONTRAST` for a constant image.
    """
    check_applicable(scan, preparation)
    low, high = value_range(scan, preparation.intensity, preparation.window)
    layout = _lay_out(scan, preparation, low, high)
    voxels = layout.cut(scan.voxels)
    if voxels.ndim == 3:
        voxels = voxels[..., None]
    stack = np.transpose(voxels, (2, 3, 1, 0))
    resized = [
        _resize(torch.from_numpy(np.ascontiguousarray(stack[n : n + CHUNK])), layout.size, low, high)
        for n in range(0, len(stack), CHUNK)
    ]
    slices = torch.cat(resized)
    if len(slices) > layout.slices:
        slices = _slabs(slices, layout.slices)
    levels = (slices * LEVELS).round_().clamp_(0, LEVELS).numpy().astype(np.uint16)
    return Sample(levels if preparation.harmonise is None else preparation.harmonise.apply(levels), layout)


def _lay_out(scan: Scan, preparation: Preparation, low: float, high: float) -> Layout:
    """Where the slices of a scan will lie, which depends on its voxels if it is cropped."""
    i, j, k = (int(side) for side in scan.voxels.shape[:3])
    turn = lps_turn(scan.affine) if scan.geometry == "patient" else Turn()
    turned = turn.apply(scan.voxels)
    box = foreground(turned, low, high) if preparation.crop == "foreground" else whole(turned)
    depth = box[2][1] - box[2][0]
    return Layout(
        shape=(i, j, k),
        affine=scan.affine,
        placed=scan.geometry == "patient",
        turn=turn,
        box=box,
        size=preparation.image_size,
        slices=min(depth, preparation.slices),
    )


def _resize(slices: Tensor, size: int, low: float, high: float) -> Tensor:
    scaled = slices.sub(low).div_(high - low).clamp_(0, 1)
    if scaled.shape[-2:] == (size, size):
        return scaled
    return functional.interpolate(scaled, (size, size), mode="bilinear", antialias=True, align_corners=False)


def _slabs(slices: Tensor, count: int) -> Tensor:
    """Average K slices (K, C, S, S) into `count` slabs, shape (count, C, S, S)."""
    k, channels, height, width = slices.shape
    flat = slices.reshape(k, -1).T[None]
    return functional.adaptive_avg_pool1d(flat, count)[0].T.reshape(count, channels, height, width)


def to_tensor(slices: npt.NDArray[np.uint16]) -> Tensor:
    """Prepared slices as float32 in [0, 1], any shape."""
    return torch.from_numpy(slices.astype(np.float32)).div_(LEVELS)
