"""Volumes in NIfTI: an ellipsoid organ in a body, with or without a bright lesion."""

import struct
import zlib
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from recipe.chance import generator, ramp, texture


@dataclass(frozen=True, slots=True)
class Lesion:
    """A sphere: centre in RAS+ millimetres, radius in millimetres."""

    centre_mm: tuple[float, float, float]
    radius_mm: float


def header(patient: str, shape: tuple[int, int, int], spacing: tuple[float, ...], tilt: float) -> nib.Nifti1Header:
    """A header whose sform and qform agree: rotation by `tilt` radians about the axis (1, 2, 0).

    The quaternion is written as such, because nibabel's way from a matrix goes through LAPACK,
    whose last bit differs between machines.
    """
    rng = generator("position", patient)
    made = nib.Nifti1Header()
    made.set_data_shape(shape)
    made.set_data_dtype(np.int16)
    made.set_xyzt_units("mm")
    made["pixdim"][:4] = (1, *spacing)
    for name, part in zip("bc", (1 / 5**0.5, 2 / 5**0.5), strict=True):
        made[f"quatern_{name}"] = np.sin(tilt / 2) * part
    for axis, name in enumerate("xyz"):
        made[f"qoffset_{name}"] = round(-(shape[axis] - 1) * spacing[axis] / 2 + rng.uniform(-15, 15), 2)
    made["qform_code"] = 1
    made.set_sform(made.get_qform(), code=1)
    return made


def volume(site: str, patient: str, *, lesion: bool) -> tuple[bytes, Lesion | None]:
    """The bytes of a .nii.gz file and the lesion planted in it."""
    rng = generator("organ", patient)
    shape, spacing = ((40, 36, 20), (2.0, 2.0, 4.0)) if site == "north" else ((36, 36, 22), (2.2, 2.2, 3.5))
    oblique = rng.uniform(0.08, 0.3) if rng.random() < 0.4 else 0.0
    made = header(patient, shape, spacing, oblique)
    local = (np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2) * np.reshape(spacing, (3, 1, 1, 1))
    centre = np.array([rng.uniform(-5, 5), rng.uniform(-2, 5), rng.uniform(-4, 4)])
    radii = tuple(rng.uniform(low, high) for low, high in ((21, 26), (17, 21), (25, 31)))
    body = np.hypot(local[0] / rng.uniform(35, 38), local[1] / rng.uniform(28, 33))
    value = 90 * ramp(1.04, 0.98, body) + 70 * ramp(0.90, 0.96, body) * ramp(1.02, 0.97, body)
    organ = np.sqrt((((local - centre[:, None, None, None]) / np.reshape(radii, (3, 1, 1, 1))) ** 2).sum(0))
    inside = ramp(1.05, 0.93, organ)
    value += 70 * inside + inside * 7 * texture(rng, shape, (1.8, 1.8, 0.9))
    value += 60 * ramp(1.1, 0.9, np.hypot(local[0] / 7, (local[1] + 22) / 6))
    for _ in range(3):
        axis = np.array([rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.6, 1)])
        axis /= np.sqrt((axis**2).sum())
        start = centre + np.array([rng.uniform(-10, 10), rng.uniform(-8, 8), 0.0])
        away = local - start[:, None, None, None]
        along = (away * axis[:, None, None, None]).sum(0)
        value -= 25 * inside * ramp(3.4, 1.6, np.sqrt(np.clip((away**2).sum(0) - along**2, 0, None)))
    planted = None
    if lesion:
        value, planted = plant(rng, value, local, made, (centre, radii))
    field = 1 + (0.0 if site == "north" else 0.0045) * local[0]
    scale, noise = (4.0, 2.5) if site == "north" else (6.0, 4.0)
    value = gaussian_filter(value * field, (0.5, 0.5, 0.2)) + noise * texture(rng, shape, 0.5) * ramp(1.1, 1.0, body)
    voxels = (20 * np.rint(np.clip(value, 0, None) * scale / 20)).astype(np.int16)
    return gzipped(nib.Nifti1Image(voxels, None, made).to_bytes()), planted


def plant(
    rng: np.random.Generator,
    value: np.ndarray,
    local: np.ndarray,
    made: nib.Nifti1Header,
    organ: tuple[np.ndarray, tuple[float, ...]],
) -> tuple[np.ndarray, Lesion]:
    """Add a bright sphere inside the organ, which has a centre and radii in local millimetres."""
    radius = round(rng.uniform(7.5, 11.5), 2)
    direction = np.array([rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(-1, 1)])
    direction /= np.sqrt((direction**2).sum())
    centre = organ[0] + direction * (np.array(organ[1]) - radius) * rng.uniform(0.2, 0.9)
    far = np.sqrt(((local - centre[:, None, None, None]) ** 2).sum(0)) / radius
    index = centre / made["pixdim"][1:4] + (np.array(value.shape) - 1) / 2
    affine = made.get_best_affine()
    x, y, z = (round(float((affine[axis, :3] * index).sum() + affine[axis, 3]), 2) for axis in range(3))
    return value + rng.uniform(55, 85) * ramp(1.1, 0.8, far), Lesion((x, y, z), radius)


def gzipped(content: bytes) -> bytes:
    """A gzip member without time stamp or name; the header does not depend on the Python version."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
    tail = struct.pack("<LL", zlib.crc32(content), len(content))
    return head + squeeze.compress(content) + squeeze.flush() + tail


def inflated(content: bytes) -> bytes:
    """What a gzip member written by `gzipped` holds, as far as it goes; the CRC is not looked at."""
    return zlib.decompressobj(-15).decompress(content[10:])
