"""Maps that need no training."""

import dataclasses

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter, label

from pipeline.prepare.samples import Preparation, prepare, to_tensor
from pipeline.score.outcome import Outcome

ABNORMAL = Outcome("scored", "", (0.1, 0.9), 0.9, "anomaly")


def settings(kind, **changes):
    """A preparation for the sample radiographs, volumes or CT."""
    modality = {"radiographs": "CR/DX", "volumes": "OT", "ct": "CT"}[kind]
    base = Preparation(
        kind="radiograph" if kind == "radiographs" else "volume",
        modality=modality,
        image_size=64,
        slices=1 if kind == "radiographs" else 24,
        intensity="auto",
        window=(-1000.0, 400.0) if kind == "ct" else None,
    )
    return base.model_copy(update=changes)


def above_normals(normals):
    """How much brighter a smoothed radiograph is than any of the smoothed normal ones, pixel by pixel."""

    def smooth(slices):
        return gaussian_filter(slices[:, 0].numpy(), (0, 2, 2))

    highest = np.max([smooth(slices) for slices in normals], axis=0)
    return lambda slices: torch.from_numpy(smooth(slices) - highest)


def bright_and_deep(slices):
    """How bright a smoothed volume is, where its surface is far."""
    size, count = slices.shape[-1], len(slices)
    scale = size / 64
    smooth = gaussian_filter(slices[:, 0].numpy(), (1.5 * count / 64, 1.5 * scale, 1.5 * scale))
    body = smooth > 0.25 * np.median(smooth[smooth > 0.2])
    depth = [distance_transform_edt(np.pad(binary_fill_holes(plane), 1))[1:-1, 1:-1] for plane in body]
    return torch.from_numpy(np.where(np.array(depth) > 6 * scale, smooth, 0).astype(np.float32))


def dense_in_lung(slices):
    """What is bright and lies within the lungs of a CT."""
    maps = np.zeros((len(slices), *slices.shape[-2:]), np.float32)
    for n, plane in enumerate(slices[:, 0].numpy()):
        parts, count = label(plane < 0.35)
        outside = {*parts[0], *parts[-1], *parts[:, 0], *parts[:, -1]}
        lung = np.isin(parts, [part for part in range(1, count + 1) if part not in outside])
        maps[n] = binary_fill_holes(lung) & ~lung
    return torch.from_numpy(gaussian_filter(maps, 1))


def slices_of(scan, preparation):
    return to_tensor(prepare(scan, preparation).slices)


def stored_otherwise(scan, axes, flips):
    """The same volume with its axes swapped and turned round, and the affine that says so."""
    step = np.eye(4)[:, [*axes, 3]]
    voxels = scan.voxels.transpose(axes)
    for axis in np.flatnonzero(flips):
        step[:, 3] += step[:, axis] * (voxels.shape[axis] - 1)
        step[:, axis] *= -1
    voxels = np.flip(voxels, np.flatnonzero(flips))
    return dataclasses.replace(scan, voxels=np.ascontiguousarray(voxels), affine=scan.affine @ step)
