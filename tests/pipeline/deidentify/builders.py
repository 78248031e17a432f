"""Objects full of planted names, numbers, dates and UIDs, built with pydicom alone, and the search for what is left."""

import itertools

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

ROOT = "1.2.840.10008.5.1.4.1.1."
CT, US, ENHANCED_MR, SR = ROOT + "2", ROOT + "6.1", ROOT + "4.1", ROOT + "88.33"


class Plants:
    """Makes strings that occur nowhere else, and remembers them."""

    def __init__(self):
        self.planted = []
        self._numbers = itertools.count(1)

    def keep(self, text):
        self.planted.append(text)
        return text

    def word(self, before=""):
        return before + self.keep(f"Qvx{next(self._numbers):03d}zephyr")

    def short(self):
        """Fits SH and AE, 16 characters."""
        return self.keep(f"Wq{next(self._numbers):03d}Yk")

    def name(self):
        return f"{self.word()}^{self.word()}"

    def date(self):
        number = next(self._numbers)
        return self.keep(f"19{31 + number % 60:02d}{1 + number % 12:02d}{1 + number * 7 % 28:02d}")

    def moment(self):
        return self.date() + "112233.445566"

    def uid(self):
        return self.keep(f"1.3.6.1.4.1.99999.{next(self._numbers)}.20")

    def left_in(self, content):
        """Which planted strings stand in some bytes, in any of the usual encodings."""
        encodings = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
        return [text for text in self.planted if any(text.encode(code) in content for code in encodings)]


def item(**tags):
    ds = Dataset()
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def code(value, scheme, meaning):
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def base(plants, sop_class, modality, **tags):
    """Patient, study, series and equipment of an object, all of it identifying."""
    ds = item(SOPClassUID=sop_class, SOPInstanceUID=plants.uid(), Modality=modality)
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID = plants.name(), plants.word()
    ds.PatientBirthDate, ds.PatientSex = plants.date(), "F"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = plants.uid(), plants.uid()
    ds.StudyDate, ds.StudyTime, ds.StudyID = plants.date(), "101112", plants.short()
    ds.SeriesDate, ds.ContentDate, ds.ContentTime = plants.date(), plants.date(), "101112"
    ds.AccessionNumber, ds.ReferringPhysicianName = plants.short(), plants.name()
    ds.StudyDescription, ds.SeriesDescription = plants.word("Brain of "), plants.word()
    ds.InstitutionName, ds.StationName = plants.word("Hospital "), plants.short()
    ds.Manufacturer, ds.ManufacturerModelName = "Maker", "Model 7"
    ds.DeviceSerialNumber, ds.SoftwareVersions = plants.word(), "v1"
    ds.SeriesNumber = ds.InstanceNumber = 1
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def add_image(ds, shape=(8, 6), **tags):
    ds.Rows, ds.Columns = shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    for name, value in tags.items():
        setattr(ds, name, value)
    frames = int(ds.get("NumberOfFrames", 1))
    stored = np.random.default_rng(5).integers(0, 4096, (frames, *shape), dtype=np.uint16)
    ds.PixelData = stored.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    return stored


def make_ct(plants, **tags):
    """A CT slice that dciodvfy finds little wrong with."""
    ds = base(plants, CT, "CT", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], AcquisitionNumber=1)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = plants.uid(), ""
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.KVP = [0.5, 0.5], 2, 120
    ds.PatientPosition, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "HFS", -1024, 1, "HU"
    add_image(ds)
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def write(ds, path, *, preamble=b"\0" * 128, **meta):
    """Write an object with a meta group of one's choice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for name, value in meta.items():
        setattr(ds.file_meta, name, value)
    ds.preamble = preamble
    ds.save_as(path, enforce_file_format=True)
    return path
