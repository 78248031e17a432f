"""One CT series of a chest: slices of Hounsfield units, tilted in the patient, with a nodule."""

import numpy as np
from pydicom.dataset import Dataset
from scipy.ndimage import gaussian_filter

from recipe.chance import generator, ramp, texture
from recipe.headers import STORAGE, fill, person, pixels, uid
from recipe.organ import Lesion

PIXEL_MM, STEP_MM = 5.5, 7.0
TILT, TURN = 0.14, 0.06  # radians: about the left-right axis, then within the slice


def axes() -> np.ndarray:
    """Directions of column index, row index and slice in LPS, one a row, shape (3, 3)."""
    cos, sin = np.cos(TILT), np.sin(TILT)
    right, down = np.array([1.0, 0.0, 0.0]), np.array([0.0, cos, sin])
    row, column = np.cos(TURN) * right + np.sin(TURN) * down, np.cos(TURN) * down - np.sin(TURN) * right
    return np.stack([row, column, np.cross(row, column)])


def hounsfield(points: np.ndarray, nodule: Lesion, rng: np.random.Generator) -> np.ndarray:
    """Hounsfield units at points in LPS millimetres, shape (3, ...)."""
    x, y, z = points
    trunk = np.sqrt((x / 160) ** 2 + (y / 112) ** 2)
    value = -1000 + 900 * ramp(1.02, 0.98, trunk) + 145 * ramp(0.93, 0.89, trunk)
    wall = np.sqrt((x / 133) ** 2 + (y / 88) ** 2)
    rib = ramp(0.06, 0.03, np.abs(wall - 1.02)) * ramp(-0.1, 0.4, np.sin((z + 0.5 * y) / 4.2) + 0.2)
    value += 380 * rib * ramp(20, 40, np.abs(x))
    for side in (-1, 1):
        lung = np.sqrt(((x - side * 72) / 52) ** 2 + ((y + 2) / 76) ** 2 + (z / 150) ** 4)
        value += ramp(1.04, 0.95, lung) * (-850 - value)
    heart = np.sqrt(((x - 26) / 50) ** 2 + ((y + 22) / 40) ** 2 + ((z + 25) / 60) ** 2)
    aorta, spine = np.hypot(x - 18, y - 38), np.hypot(x / 20, (y - 68) / 20)
    for weight, target in (
        (ramp(1.05, 0.95, heart), 45.0),
        (ramp(14, 11, aorta), 60.0),
        (ramp(1.08, 0.92, spine), 280.0),
        (ramp(0.45, 0.35, np.hypot(x / 20, (y - 96) / 40)), 250.0),
        (ramp(10, 7, np.hypot(x, y - 10)) * ramp(-5, 5, z), -980.0),
    ):
        value += weight * (target - value)
    centre = np.array([-nodule.centre_mm[0], -nodule.centre_mm[1], nodule.centre_mm[2]])
    far = np.sqrt(((points - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(0)) / nodule.radius_mm
    vessel = ramp(1.4, 2.6, texture(rng, value.shape, (0.9, 1.1, 1.1)))
    value += ramp(-500, -800, value) * 350 * vessel * ramp(0.95, 0.9, trunk)
    value += ramp(1.1, 0.85, far) * (35 - value)
    return value + 9 * texture(rng, value.shape, (0.0, 0.6, 0.6)) * ramp(1.1, 1.0, trunk)


def series(
    patient: str, nodule: Lesion, *, shape: tuple[int, int, int], signed: bool, zoom: float = 1.0
) -> list[Dataset]:
    """Slices of shape (K, rows, columns), feet to head or the other way round, not yet compressed.

    Unsigned, the stored value is HU + 1024 in 12 bits; signed, it is the HU itself in 16 bits.
    """
    rng, (row, column, normal) = generator("ct", patient), axes()
    pixel = PIXEL_MM * zoom
    steps = [(np.arange(n) - (n - 1) / 2) * by for n, by in zip(shape, (STEP_MM, pixel, pixel), strict=True)]
    k, i, j = np.meshgrid(*steps, indexing="ij")
    points = sum(np.reshape(axis, (3, 1, 1, 1)) * step for axis, step in ((normal, k), (column, i), (row, j)))
    value = gaussian_filter(hounsfield(points, nodule, rng), (0, 0.45, 0.45))
    stored = 8 * np.rint(np.clip(value, -1024, 1500) / 8).astype(int)
    frame, slices = uid("frame", patient), []
    for index in range(shape[0]):
        corner = normal * steps[0][index] + column * steps[1][0] + row * steps[2][0]
        ds = fill(
            person(patient, "a"),
            SOPClassUID=STORAGE + "2",
            SOPInstanceUID=uid("slice", patient, index),
            Modality="CT",
            Manufacturer="Middle Tomography (invented)",
            ManufacturerModelName="CT-64",
            InstitutionName="North Hospital (invented)",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            BodyPartExamined="CHEST",
            PatientPosition="HFS",
            FrameOfReferenceUID=frame,
            PositionReferenceIndicator="",
            InstanceNumber=f"{shape[0] - index}",
            AcquisitionNumber="1",
            KVP="120",
            ImageOrientationPatient=[f"{round(v, 8) + 0.0:.8f}" for v in (*row, *column)],
            ImagePositionPatient=[f"{round(v, 5) + 0.0:.5f}" for v in corner],
            PixelSpacing=[f"{pixel:g}"] * 2,
            SliceThickness=f"{STEP_MM:g}",
            RescaleIntercept="0" if signed else "-1024",
            RescaleSlope="1",
            RescaleType="HU",
            PhotometricInterpretation="MONOCHROME2",
            WindowCenter=["40", "-600"],
            WindowWidth=["400", "1500"],
            ImageComments="Synthetic: drawn by make_sample_data.py",
        )
        slices.append(pixels(ds, stored[index] + (0 if signed else 1024), bits=16 if signed else 12, signed=signed))
    return slices
