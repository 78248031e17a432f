"""Writes DICOM with pydicom alone: stored numbers and header values exactly as given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.pipeline.ingest.truth.case import Truth

STORAGE = "1.2.840.10008.5.1.4.1.1."
CT, ENHANCED_CT, MR, ENHANCED_MR = (STORAGE + root for root in ("2", "2.1", "4", "4.1"))
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PixelSpacing")
Change = Callable[[Dataset, int], None]


def numbers(shape: tuple[int, ...], high: int = 4096, low: int = 0, seed: int = 7) -> np.ndarray:
    """Whole numbers in [low, high)."""
    return np.random.default_rng(seed).integers(low, high, shape)


def item(**tags: Any) -> Dataset:
    """A data set of these elements."""
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def affine_of(
    row: Sequence[float],
    column: Sequence[float],
    step: Sequence[float],
    first: Sequence[float],
    spacing: Sequence[float] = (0.8, 0.7),
) -> np.ndarray:
    """RAS+ affine by the definition of PS3.3 C.7.6.2.1.1: its columns are the steps; x and y change sign."""
    lps = np.eye(4)
    lps[:3, 0] = np.array(row) * spacing[1]
    lps[:3, 1] = np.array(column) * spacing[0]
    lps[:3, 2], lps[:3, 3] = step, first
    return LPS_TO_RAS @ lps


@dataclass
class Stack:
    """A series; by default CT of 12 bits, 2.5 mm apart, pixels of 0.8 mm by 0.7 mm, first at (-100, -90, 40)."""

    stored: np.ndarray = field(default_factory=lambda: numbers((8, 6, 5)))
    row: Sequence[float] = (1, 0, 0)
    column: Sequence[float] = (0, 1, 0)
    step: Sequence[float] = (0, 0, 2.5)
    first: Sequence[float] = (-100.0, -90.0, 40.0)
    slope: float = 1
    intercept: float = -1024
    uid: str = "1.2.3.4"
    sop_root: str = "1.2.3.4.5"
    tags: dict[str, Any] = field(default_factory=dict)

    def place(self, k: int) -> list[float]:
        return [float(round(x, 6)) for x in np.array(self.first) + k * np.array(self.step)]

    def truth(self, values: np.ndarray | None = None, **changes: Any) -> Truth:
        """The volume; `values` are (K, rows, columns) in modality units where they are not the rescaled numbers."""
        shown = self.stored.astype(np.float64) * self.slope + self.intercept if values is None else values
        spacing = self.tags.get("PixelSpacing", (0.8, 0.7))
        affine = affine_of(self.row, self.column, self.step, self.first, spacing)
        return Truth(shown.transpose(2, 1, 0), **{"affine": affine, **changes})

    def dataset(self, k: int, **tags: Any) -> Dataset:
        """One slice."""
        made = item(
            SOPClassUID=CT,
            SOPInstanceUID=f"{self.sop_root}.{k + 1}",
            Modality="CT",
            PatientID="P1",
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID=self.uid,
            FrameOfReferenceUID="1.2.9",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            InstanceNumber=k + 1,
            ImagePositionPatient=self.place(k),
            ImageOrientationPatient=[float(round(x, 6)) for x in (*self.row, *self.column)],
            PixelSpacing=[0.8, 0.7],
            SliceThickness=5,
            RescaleSlope=self.slope,
            RescaleIntercept=self.intercept,
            **image(self.stored[k]),
        )
        made.update(item(**{**self.tags, **tags}))
        made["PixelData"].VR = "OW"
        return made

    def write(self, folder: Path, change: Change | None = None, leave_out: Sequence[int] = (), **how: Any) -> None:
        """Write all slices, under names in no order."""
        for k in range(len(self.stored)):
            made = self.dataset(k)
            if change:
                change(made, k)
            if k not in leave_out:
                save(made, folder / f"{(k * 5) % 8}_{k}.dcm", **how)


def image(stored: np.ndarray, allocated: int = 16, bits: int = 12, signed: bool = False) -> dict[str, Any]:
    """The Image Pixel module of grey stored numbers, (rows, columns) or (frames, rows, columns)."""
    module = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[-2],
        "Columns": stored.shape[-1],
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(signed),
        "PixelData": padded(stored.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes()),
    }
    return module if stored.ndim == 2 else {**module, "NumberOfFrames": len(stored)}


def padded(value: bytes) -> bytes:
    """A value of even length, as PS3.5 7.1.1 asks for."""
    return value + b"\0" * (len(value) % 2)


def save(made: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian, **how: Any) -> Path:
    """Write a data set as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.get("SOPClassUID", CT)
    made.file_meta.MediaStorageSOPInstanceUID = made.get("SOPInstanceUID", "1.2.3.99")
    made.save_as(path, enforce_file_format=True, **how)
    return path


def single(modality: str, sop_class: str, module: dict[str, Any], **tags: Any) -> Dataset:
    """An image without a place in the patient."""
    made = item(
        SOPClassUID=STORAGE + sop_class,
        SOPInstanceUID="1.2.3.4.5.1",
        Modality=modality,
        PatientID="P1",
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.4",
        InstanceNumber=1,
        **module,
    )
    made.update(item(**tags))
    made["PixelData"].VR = "OB" if made.BitsAllocated <= 8 else "OW"
    return made
