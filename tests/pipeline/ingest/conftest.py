"""Writes DICOM files with pydicom alone, so that what is read is compared with what was put there by hand."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.ingest.archives import Archives

ROWS, COLUMNS, SLICES = 6, 5, 10
STORAGE = "1.2.840.10008.5.1.4.1.1."


@dataclass
class Slices:
    """A CT series of 10 slices, 2.5 mm apart, pixels 0.8 mm (rows) by 0.7 mm (columns), first at (-100, -90, 40)."""

    stored: np.ndarray = field(
        default_factory=lambda: np.random.default_rng(7).integers(0, 4096, (SLICES, ROWS, COLUMNS), dtype=np.uint16)
    )
    row: tuple = (1, 0, 0)
    column: tuple = (0, 1, 0)
    step: tuple = (0, 0, 2.5)
    first: tuple = (-100.0, -90.0, 40.0)
    uid: str = "1.2.3.4"
    sop_root: str = "1.2.3.4.5"

    def position(self, k):
        return np.array(self.first) + k * np.array(self.step)

    @property
    def affine(self):
        """The RAS+ affine, worked out from the definition: columns are the steps, x and y change sign."""
        lps = np.eye(4)
        lps[:3, 0] = np.array(self.row) * 0.7
        lps[:3, 1] = np.array(self.column) * 0.8
        lps[:3, 2] = self.step
        lps[:3, 3] = self.first
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps

    @property
    def values(self):
        """Hounsfield units, (I, J, K): slope 1, intercept -1024."""
        return self.stored.transpose(2, 1, 0).astype(np.float32) - 1024

    def dataset(self, k, **tags):
        ds = Dataset()
        ds.SOPClassUID = STORAGE + "2"
        ds.SOPInstanceUID = f"{self.sop_root}.{k + 1}"
        ds.Modality = "CT"
        ds.PatientID = "SECRET-PATIENT"
        ds.PatientName = "Secret^Name"
        ds.StudyInstanceUID = "1.2.3"
        ds.SeriesInstanceUID = self.uid
        ds.FrameOfReferenceUID = "1.2.9"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = [float(round(x, 6)) for x in self.position(k)]
        ds.ImageOrientationPatient = [float(x) for x in (*self.row, *self.column)]
        ds.PixelSpacing = [0.8, 0.7]
        ds.SliceThickness = 5
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = ROWS, COLUMNS
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        ds.PixelData = self.stored[k].astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        for name, value in tags.items():
            setattr(ds, name, value)
        return ds


def save(ds, path, syntax=ExplicitVRLittleEndian, **how):
    """Write a data set as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", STORAGE + "7")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3.99")
    ds.save_as(path, enforce_file_format=True, **how)
    return path


def save_all(slices, folder, **tags):
    """Write every slice of a series, with names in no order."""
    return [save(slices.dataset(k, **tags), folder / f"{(k * 7) % SLICES}_{k}.dcm") for k in range(len(slices.stored))]


@pytest.fixture
def slices():
    """A plain CT series."""
    return Slices()


@pytest.fixture
def new_slices():
    """The class of series, for those that are not plain."""
    return Slices


@pytest.fixture
def write():
    """Writes one data set to a path."""
    return save


@pytest.fixture
def write_all():
    """Writes all slices into a folder."""
    return save_all


@pytest.fixture
def radiograph():
    """Builds a radiograph of 12 bits whose stored values are the ones given."""

    def build(stored, **tags):
        slices = Slices()
        ds = slices.dataset(0)
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PixelSpacing"):
            delattr(ds, name)
        stored = np.asarray(stored)
        ds.SOPClassUID, ds.Modality = STORAGE + "1", "CR"
        ds.Rows, ds.Columns = stored.shape
        ds.RescaleIntercept = 0
        ds.PixelData = stored.astype("<u2" if stored.dtype.kind == "u" else "<i2").tobytes()
        for name, value in tags.items():
            setattr(ds, name, value)
        return ds

    return build


@pytest.fixture
def shared_folder():
    """The folder of real data beside the checkout; skips the test where it is absent."""
    folder = Path(__file__).resolve().parents[3].parent / "shared"
    if not (folder / "dicom").is_dir():
        pytest.skip("../shared/dicom is not there")
    return folder


@pytest.fixture
def archives(tmp_path):
    """Where zip archives are unpacked, all that are found."""
    return Archives(tmp_path / "unpacked", everywhere=True)


@pytest.fixture
def series(tmp_path, slices, write_all):
    """The files of a plain CT series."""
    return write_all(slices, tmp_path / "series")
