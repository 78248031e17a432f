"""Data for the ingest benchmark: a CT series in any transfer syntax, and a hundred thousand small files."""

from pathlib import Path

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

SIZE, INTERCEPT = 512, -1024
ENCODERS = {
    "JPEG 2000": (JPEG2000Lossless, lambda image: imagecodecs.jpeg2k_encode(image, reversible=True, codecformat="j2k")),
    "JPEG-LS": (JPEGLSLossless, imagecodecs.jpegls_encode),
    "JPEG Lossless": (JPEGLosslessSV1, lambda image: imagecodecs.ljpeg_encode(image, bitspersample=12)),
}


def write_series(folder: Path, slices: int, syntax: str = "") -> np.ndarray:
    """Write a series with shuffled file names.

    Args:
        folder: Where it goes.
        slices: How many.
        syntax: A name of ENCODERS, `RLE`, or empty for uncompressed.

    Returns:
        Hounsfield units, shape (slices, rows, columns), float32.
    """
    folder.mkdir(parents=True)
    dice = np.random.default_rng(1)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    values = np.empty((slices, SIZE, SIZE), np.float32)
    for k in range(slices):
        shape = 1000 + 500 * np.sin(x / 40 + k / 20) * np.cos(y / 30) + dice.normal(0, 20, (SIZE, SIZE))
        stored = np.clip(shape, 0, 4095).astype("<u2")
        values[k] = stored.astype(np.float32) + INTERCEPT
        save_slice(header(k), stored, syntax, folder / f"{k * 7 % slices:05d}.dcm")
    return values


def save_slice(ds: Dataset, stored: np.ndarray, syntax: str, path: Path) -> None:
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax == "RLE":
        ds.compress(RLELossless, generate_instance_uid=False)
    elif syntax:
        uid, encode = ENCODERS[syntax]
        ds.PixelData = encapsulate([bytes(encode(stored))])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = uid
    ds.save_as(path, enforce_file_format=True)


def header(k: int, series: int = 1, size: int = SIZE) -> Dataset:
    """The header of slice k: about 80 elements, as scanners write them."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"2.25.{10**8 + series}{10**20 + k}"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, ds.SOPInstanceUID
    ds.SpecificCharacterSet, ds.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = ds.InstanceCreationDate = "20200101"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = ds.InstanceCreationTime = "101010.1"
    ds.AccessionNumber, ds.Modality, ds.Manufacturer, ds.InstitutionName = "A1", "CT", "MAKER", "HOSPITAL"
    ds.ReferringPhysicianName, ds.StationName, ds.StudyDescription = "A^B", "CT1", "CHEST"
    ds.SeriesDescription, ds.ManufacturerModelName = "AXIAL", "MODEL"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "DCM", "meaning"
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, "1.2.3"
    ds.ProcedureCodeSequence, ds.ReferencedImageSequence = Sequence([code]), Sequence([image])
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = (
        "X^Y",
        "1",
        "19500101",
        "M",
        "070Y",
    )
    ds.BodyPartExamined, ds.ScanOptions, ds.SliceThickness, ds.KVP = "CHEST", "HELIX", 1.0, 120
    ds.DataCollectionDiameter, ds.SoftwareVersions, ds.ProtocolName, ds.ReconstructionDiameter = 500, "1", "p", 360
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient, ds.GantryDetectorTilt, ds.TableHeight = 1000, 500, 0, 150
    ds.RotationDirection, ds.ExposureTime, ds.XRayTubeCurrent, ds.Exposure, ds.FilterType = "CW", 500, 200, 100, "B"
    ds.GeneratorPower, ds.FocalSpots, ds.ConvolutionKernel, ds.PatientPosition = 40, 1.2, "B30", "HFS"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.StudyID, ds.SeriesNumber = "1.2.3", f"2.25.{10**20 + series}", "1", 2
    ds.AcquisitionNumber, ds.InstanceNumber = 1, k + 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-180.0, -180.0, -100.0 + k], [1, 0, 0, 0, 1, 0]
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator, ds.SliceLocation = "1.2.9", "SN", -100.0 + k
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", size, size
    ds.PixelSpacing, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = [0.7, 0.7], 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 40, 400, INTERCEPT, 1, "HU"
    block = ds.private_block(0x29, "MAKER CSA", create=True)
    block.add_new(8, "LO", "x")
    block.add_new(9, "OB", bytes(512))
    return ds


def write_many(folder: Path, files: int, slices: int) -> None:
    """Write many small files, series of `slices` in folders of their own: one template, with its numbers replaced."""
    template = _template(folder)
    marks = (b"2.25.100000001100000000000000000000", b"2.25.100000000000000000001", b"-180.0\\-180.0\\-100.0")
    assert all(mark in template for mark in marks)
    for n in range(files):
        series, k = divmod(n, slices)
        content = template.replace(marks[0], f"2.25.{10**8 + series + 2}{10**20 + k}".encode())
        content = content.replace(marks[1], f"2.25.{10**20 + series + 2}".encode())
        content = content.replace(marks[2], f"-180.0\\-180.0\\{k - 100:06.1f}".encode())
        path = folder / f"{series % 100:02d}" / f"{series}" / f"{k}.dcm"
        if not k:
            path.parent.mkdir(parents=True)
        path.write_bytes(content)


def _template(folder: Path) -> bytes:
    path = folder / "template"
    folder.mkdir(parents=True)
    ds = header(0, size=16)
    ds.PixelData = np.arange(256, dtype="<u2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    path.unlink()
    return content
