"""DICOM objects of two invented hospitals: the headers, and the bytes of a file."""

import io
from datetime import date, timedelta

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from recipe.chance import generator, number
from recipe.sites import Site

STORAGE = "1.2.840.10008.5.1.4.1.1."
FAMILY = ("Åsholt", "Brindlemoor", "Cavendry", "Dörnwald", "Elmsgate", "Farrowick", "Grønhavn", "Hollinbeck")
GIVEN = ("Alva", "Bero", "Cilia", "Dovan", "Enna", "Firo", "Gisa", "Hale", "Ivo", "Jorun")


def fill(ds: Dataset, **tags: object) -> Dataset:
    """Set the named elements of a data set and return it."""
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def concept(value: str, text: str, **tags: object) -> list[Dataset]:
    """A code sequence of one SNOMED CT item."""
    item = fill(Dataset(), CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning=text)
    return [fill(item, **tags)]


def uid(*parts: object) -> str:
    """A UID under 2.25, made from the parts alone."""
    return f"2.25.{number('uid', *parts)}"


def person(patient: str, visit: str) -> Dataset:
    """Patient and study of an invented person; all of it follows from the two names."""
    rng = generator("person", patient)
    born = date(1940, 1, 1) + timedelta(days=int(rng.random() * 22000))
    family, given = FAMILY[int(rng.random() * len(FAMILY))], GIVEN[int(rng.random() * len(GIVEN))]
    sex, first = "FM"[int(rng.random() * 2)], int(rng.random() * 300)
    day = date(2023, 1, 9) + timedelta(days=first + 90 * "ab".index(visit))
    clock = f"{8 + number(patient, visit) % 9:02d}{number(visit, patient) % 60:02d}00"
    return fill(
        Dataset(),
        SpecificCharacterSet="ISO_IR 192",
        PatientName=f"{family}^{given}",
        PatientID=patient,
        PatientBirthDate=f"{born:%Y%m%d}",
        PatientSex=sex,
        PatientAge=f"{(day - born).days // 365:03d}Y",
        StudyInstanceUID=uid("study", patient, visit),
        SeriesInstanceUID=uid("series", patient, visit),
        StudyDate=f"{day:%Y%m%d}",
        ContentDate=f"{day:%Y%m%d}",
        StudyTime=clock,
        ContentTime=clock,
        StudyID=f"{number(patient, visit) % 10**6}",
        AccessionNumber=f"{number('order', patient, visit) % 10**8}",
        ReferringPhysicianName="",
        SeriesNumber="1",
    )


def pixels(ds: Dataset, stored: np.ndarray, *, bits: int, signed: bool = False) -> Dataset:
    """Set the image pixel module of a grey image of 16-bit words."""
    return fill(
        ds,
        SamplesPerPixel=1,
        Rows=stored.shape[0],
        Columns=stored.shape[1],
        BitsAllocated=16,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(signed),
        PixelData=stored.astype("<i2" if signed else "<u2").tobytes(),
    )


def radiograph(site: Site, patient: str, visit: str, brightness: np.ndarray) -> Dataset:
    """A CR image of the north or a DX image of the south; `brightness` as from `Site.expose`."""
    ds = fill(
        person(patient, visit),
        SOPInstanceUID=uid("image", patient, visit),
        InstanceNumber="1",
        ImageType=["DERIVED", "PRIMARY"],
        PatientOrientation=["L", "F"],
        BodyPartExamined="CHEST",
        ViewPosition="PA",
        BurnedInAnnotation="NO",
        LossyImageCompression="00",
        ImagerPixelSpacing=[f"{site.pixel_spacing_mm}"] * 2,
        ImageComments="Synthetic: drawn by make_sample_data.py",
        InstitutionName=f"{site.name.title()} Hospital (invented)",
    )
    middle, width = site.base + site.step * site.levels / 2, site.step * site.levels
    return (north if site.name == "north" else south)(ds, brightness, middle, width)


def north(ds: Dataset, brightness: np.ndarray, middle: float, width: int) -> Dataset:
    """Computed radiography: 12 bits, MONOCHROME2, a LINEAR window."""
    fill(
        ds,
        SOPClassUID=STORAGE + "1",
        Modality="CR",
        Manufacturer="North Imaging (invented)",
        ManufacturerModelName="CR-12",
        KVP="80",
        Exposure="4",
        PhotometricInterpretation="MONOCHROME2",
        WindowCenter=f"{middle + 0.5:g}",
        WindowWidth=f"{width + 1}",
    )
    return pixels(ds, brightness, bits=12)


def south(ds: Dataset, brightness: np.ndarray, middle: float, width: int) -> Dataset:
    """Digital X-ray: 10 bits, MONOCHROME1, so that dense is stored low, a LINEAR_EXACT window."""
    fill(
        ds,
        SOPClassUID=STORAGE + "1.1",
        Modality="DX",
        Manufacturer="South Radiography (invented)",
        ManufacturerModelName="DX-10",
        KVP="120",
        Exposure="2",
        PhotometricInterpretation="MONOCHROME1",
        PresentationLUTShape="INVERSE",
        WindowCenter=f"{1023 - middle:g}",
        WindowWidth=f"{width}",
        VOILUTFunction="LINEAR_EXACT",
        RescaleIntercept="0",
        RescaleSlope="1",
        RescaleType="US",
        PresentationIntentType="FOR PRESENTATION",
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=1,
        ImageLaterality="U",
        DetectorType="",
        PositionerType="",
        ViewCodeSequence=concept("272479007", "postero-anterior", ViewModifierCodeSequence=[]),
        AnatomicRegionSequence=concept("51185008", "Chest"),
        AcquisitionContextSequence=[],
    )
    return pixels(ds, 1023 - brightness, bits=10)


def dicom_file(ds: Dataset, *, compress: bool = True) -> bytes:
    """The bytes of a DICOM file, RLE Lossless (pydicom's own encoder) or Explicit VR Little Endian."""
    ds.file_meta = fill(
        FileMetaDataset(),
        TransferSyntaxUID=ExplicitVRLittleEndian,
        ImplementationClassUID=uid("make_sample_data"),
        ImplementationVersionName="SAMPLE_DATA",
    )
    if compress:
        ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    ds.save_as(file := io.BytesIO(), enforce_file_format=True)
    return file.getvalue()
