"""Single projection images: one polarity, no place in the patient."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.pipeline.ingest.truth.case import SITK, Expected, Truth, case, read, refuse
from tests.pipeline.ingest.truth.dicom import Stack, image, numbers, save, single
from tests.pipeline.ingest.truth.values import table

CLASSES = {"CR": "1", "DX": "1.1", "MG": "1.2", "IO": "1.3", "XA": "12.1", "RF": "12.2", "PX": "1.1"}
STORED = numbers((7, 6))
INVERSE = {"PhotometricInterpretation": "MONOCHROME1"}


def film(folder: Path, stored: np.ndarray = STORED, modality: str = "CR", how: Any = None, **tags: Any) -> None:
    """One radiograph."""
    save(single(modality, CLASSES[modality], image(stored, **(how or {})), **tags), folder / "a.dcm")


def truth(values: np.ndarray, modality: str = "CR", inverted: bool = False, tolerance: float = 0.0) -> Truth:
    """The truth of (rows, columns) or (frames, rows, columns)."""
    frames = values if values.ndim == 3 else values[None]
    return Truth(frames.transpose(2, 1, 0), None, modality, inverted, tolerance)


@case(variants={name: name for name in CLASSES})
def monochrome2(folder: Path, modality: str) -> Expected:
    """A projection image has no place in the patient by nature; MONOCHROME2 is left alone (PS3.3 C.7.6.3.1.2)."""
    film(folder, modality=modality)
    return read(truth(STORED, modality), proof=(SITK,))


@case(variants={name: name for name in CLASSES})
def monochrome1(folder: Path, modality: str) -> Expected:
    """MONOCHROME1 is turned as (2^BitsStored - 1) - stored, and the turn is recorded."""
    film(folder, modality=modality, **INVERSE)
    return read(truth(4095 - STORED, modality, True))


@case()
def monochrome1_with_inverse_presentation_lut(folder: Path) -> Expected:
    """Presentation LUT Shape INVERSE goes with MONOCHROME1 in DX (PS3.3 C.8.11.3.1.2): one turn, not two."""
    film(folder, modality="DX", PresentationLUTShape="INVERSE", PresentationIntentType="FOR PRESENTATION", **INVERSE)
    return read(truth(4095 - STORED, "DX", True))


@case()
def monochrome1_signed(folder: Path) -> Expected:
    """Signed stored numbers are turned about -1/2, which keeps their range."""
    stored = numbers((7, 6), 2048, -2048)
    film(folder, stored, how={"signed": True}, **INVERSE)
    return read(truth(-1 - stored, inverted=True))


@case()
def monochrome1_8_bits(folder: Path) -> Expected:
    """Bits Stored decides about what is turned, not Bits Allocated."""
    stored = numbers((7, 6), 256)
    film(folder, stored, how={"allocated": 8, "bits": 8}, **INVERSE)
    return read(truth(255 - stored, inverted=True))


@case()
def monochrome1_with_rescale(folder: Path) -> Expected:
    """The stored numbers are turned, then rescaled."""
    film(folder, RescaleSlope=0.5, RescaleIntercept=10, **INVERSE)
    return read(truth((4095 - STORED) * 0.5 + 10, inverted=True))


@case()
def monochrome1_with_modality_lut(folder: Path) -> Expected:
    """Behind a table the table's own range is mirrored."""
    film(folder, ModalityLUTSequence=[table(np.arange(4096) * 2, 0)], **INVERSE)
    return read(truth(65535 - STORED * 2, inverted=True))


@case()
def rescale(folder: Path) -> Expected:
    """A rescale of a radiograph counts as any other."""
    film(folder, RescaleSlope=0.25, RescaleIntercept=-7)
    return read(truth(STORED * 0.25 - 7), proof=(SITK,))


@case()
def window_is_not_applied(folder: Path) -> Expected:
    """A window is noted beside the values, never applied to them (PS3.3 C.11.2)."""
    film(folder, WindowCenter=[100, 200], WindowWidth=[10, 20])
    return read(truth(STORED), proof=(SITK,))


@case()
def imager_pixel_spacing(folder: Path) -> Expected:
    """Imager Pixel Spacing is measured at the detector (PS3.3 C.8.7.1.1.3): no place in the patient is claimed."""
    film(folder, ImagerPixelSpacing=[0.143, 0.143])
    return read(truth(STORED))


@case()
def two_views_of_one_series(folder: Path) -> Expected:
    """Two views are two scans, not a stack."""
    other = numbers((7, 6), seed=9)
    for n, stored in enumerate((STORED, other)):
        made = single("DX", "1.1", image(stored), InstanceNumber=n + 1, SOPInstanceUID=f"1.2.3.{n}")
        save(made, folder / f"{n}.dcm")
    return read(truth(STORED, "DX"), truth(other, "DX"))


@case()
def one_instance_uid_for_two_views(folder: Path) -> Expected:
    """Two views that wrongly share a SOP Instance UID differ in their pixels: both are read."""
    other = numbers((7, 6), seed=9)
    for n, stored in enumerate((STORED, other)):
        save(single("DX", "1.1", image(stored), InstanceNumber=n + 1), folder / f"{n}.dcm")
    return read(truth(STORED, "DX"), truth(other, "DX"))


@case()
def damaged_view_beside_a_sound_one(folder: Path) -> Expected:
    """Views stand alone: a cut one is refused, the other is read."""
    for n in range(2):
        made = single("DX", "1.1", image(STORED), InstanceNumber=n + 1, SOPInstanceUID=f"1.2.3.{n}")
        save(made, folder / f"{n}.dcm")
    path = folder / "1.dcm"
    path.write_bytes(path.read_bytes()[:-9])
    return read(truth(STORED, "DX"), refused="TRUNCATED_PIXELS")


@case()
def position_in_a_radiograph(folder: Path) -> Expected:
    """A projection has no place even where an exporter wrote one (PS3.3 A.2 holds no Image Plane Module)."""
    tags = Stack().dataset(0)
    film(folder, ImagePositionPatient=tags.ImagePositionPatient, ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    return read(truth(STORED))


@case()
def cine_of_an_angiogram(folder: Path) -> Expected:
    """An angiogram's frames are a volume without geometry, in the order of the file."""
    film(folder, numbers((4, 7, 6)), "XA")
    return read(truth(numbers((4, 7, 6)), "XA"), proof=())


@case()
def cine_of_an_angiogram_in_monochrome1(folder: Path) -> Expected:
    """One polarity holds for every frame of a cine as for a single radiograph."""
    film(folder, numbers((4, 7, 6)), "XA", PhotometricInterpretation="MONOCHROME1")
    return read(truth(4095 - numbers((4, 7, 6)), "XA", inverted=True), proof=())


@case()
def no_photometric_interpretation(folder: Path) -> Expected:
    """Photometric Interpretation is type 1 (PS3.3 C.7.6.3): without it a radiograph's polarity is a guess."""
    made = single("CR", "1", image(STORED))
    del made.PhotometricInterpretation
    save(made, folder / "a.dcm")
    return refuse("CORRUPT_HEADER")
