"""Images that are there twice, and images that only look so."""

import shutil
import struct
from pathlib import Path

from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from tests.pipeline.ingest.truth.case import SITK, Expected, case, read, refuse
from tests.pipeline.ingest.truth.compressed import rle
from tests.pipeline.ingest.truth.dicom import Stack, save
from tests.pipeline.ingest.truth.grouping import again, pair


@case(row=5)
def copy_of_a_slice(folder: Path) -> Expected:
    """The same pixels at the same place, under another SOP Instance UID: kept once, the copy is named."""
    stack = Stack()
    stack.write(folder)
    save(stack.dataset(4, SOPInstanceUID="1.2.3.77", InstanceNumber=99), folder / "z.dcm")
    return read(stack.truth(), ignored="DUPLICATE_FILE")


@case()
def same_file_under_another_name(folder: Path) -> Expected:
    """A file copied byte for byte is read once."""
    stack = Stack()
    stack.write(folder)
    shutil.copy(folder / "5_1.dcm", folder / "zz.dcm")
    return read(stack.truth(), ignored="DUPLICATE_FILE")


@case()
def same_instance_sent_twice(folder: Path) -> Expected:
    """One SOP Instance UID twice with other headers (a coerced copy from a PACS): read once."""
    stack = Stack()
    stack.write(folder)
    save(stack.dataset(4, PatientID="P2"), folder / "z.dcm")
    return read(stack.truth(), ignored="DUPLICATE_FILE")


@case()
def same_instance_with_padding_behind(folder: Path) -> Expected:
    """A copy that an archive padded behind the pixels (Data Set Trailing Padding, PS3.10 7.2) is a copy: read once."""
    stack = Stack()
    stack.write(folder)
    path = save(stack.dataset(4), folder / "z.dcm")
    path.write_bytes(path.read_bytes() + struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, 50) + bytes(50))
    return read(stack.truth(), ignored="DUPLICATE_FILE")


@case()
def one_instance_uid_for_all_slices(folder: Path) -> Expected:
    """A faulty exporter gave all slices one SOP Instance UID: their places differ, so none is dropped."""
    stack = Stack(tags={"SOPInstanceUID": "1.2.3.5"})
    stack.write(folder)
    return read(stack.truth(), proof=(SITK,))


@case()
def one_instance_uid_for_two_time_points(folder: Path) -> Expected:
    """One SOP Instance UID for images of two times at one place: they are no copies, and both volumes are read."""
    one = Stack(tags={"SOPInstanceUID": "1.2.3.5", "TemporalPositionIdentifier": 1})
    return pair(folder, one, again(tags={"SOPInstanceUID": "1.2.3.5", "TemporalPositionIdentifier": 2}))


@case()
def one_instance_uid_for_other_pixels(folder: Path) -> Expected:
    """One SOP Instance UID at one place with two sets of pixels: nothing says which is wrong; refused."""
    Stack().write(folder)
    save(again(sop_root="1.2.3.4.5").dataset(4), folder / "z.dcm")
    return refuse("DUPLICATE_POSITION")


@case()
def one_instance_in_two_syntaxes(folder: Path) -> Expected:
    """An instance archived uncompressed and as RLE is one image: read once."""
    stack = Stack()
    stack.write(folder)
    made = stack.dataset(4)
    made.PixelData = encapsulate([rle(stack.stored[4].astype("u2"), 12)])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    save(made, folder / "z.dcm", syntax=RLELossless)
    return read(stack.truth(), ignored="DUPLICATE_FILE")


@case()
def two_images_at_one_place(folder: Path) -> Expected:
    """Two images at one place that nothing tells apart: refused."""
    stack = Stack()
    stack.write(folder)
    save(again().dataset(4, InstanceNumber=99), folder / "z.dcm")
    return refuse("DUPLICATE_POSITION")


@case(
    variants={
        "sign": {"PixelRepresentation": 1},
        "bits": {"BitsStored": 10, "HighBit": 9},
        "slope": {"RescaleSlope": 2},
    }
)
def same_bytes_other_meaning(folder: Path, tags: dict[str, object]) -> Expected:
    """The same stored bytes at one place, but read otherwise: no copy, and refused as two images."""
    stack = Stack()
    stack.write(folder)
    save(stack.dataset(4, SOPInstanceUID="1.2.3.77", **tags), folder / "z.dcm")
    return refuse("DUPLICATE_POSITION")
