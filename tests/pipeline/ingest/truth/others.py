"""Objects of other kinds: nuclear medicine, single bits, documents, and what is no image at all."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet

from tests.pipeline.ingest.truth.case import Expected, Truth, case, read, refuse
from tests.pipeline.ingest.truth.dicom import STORAGE, Stack, image, item, numbers, padded, save, single


@case(variants={"one_frame": 1, "four_frames": 4})
def planar_nuclear_medicine(folder: Path, frames: int) -> Expected:
    """Planar nuclear medicine has no Image Plane Module (PS3.3 A.5): values are read, no place is claimed."""
    stored = numbers((frames, 6, 8))
    save(single("NM", "20", image(stored, bits=16)), folder / "a.dcm")
    return read(Truth(stored.transpose(2, 1, 0), None, "NM"))


@case(variants={"CT": ("CT", "2", "NO_POSITION"), "MR": ("MR", "4", "NO_POSITION")})
def many_frames_with_one_position(folder: Path, modality: str, sop_class: str, code: str) -> Expected:
    """Many frames of a plain CT or MR object and one position for all: all but one lie nowhere; refused."""
    place = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    made = single(modality, sop_class, image(numbers((4, 6, 8))), PixelSpacing=[1, 1], **place)
    save(made, folder / "a.dcm")
    return refuse(code)


@case()
def single_bits(folder: Path) -> Expected:
    """One bit per pixel, packed from the lowest bit on (PS3.5 8.1.1)."""
    stored = numbers((3, 3, 7), 2)
    module = image(stored, 8, 1)
    module.update(
        BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=padded(np.packbits(stored, bitorder="little").tobytes())
    )
    save(single("SC", "7.1", module), folder / "a.dcm")
    return read(Truth(stored.transpose(2, 1, 0), None, "SC"))


@case()
def part_of_a_concatenation(folder: Path) -> Expected:
    """One part of a concatenation (PS3.3 C.7.6.16.2.2.4) is no whole object: refused."""
    stack = Stack()
    made = stack.dataset(0, ConcatenationUID="1.2.3.9", InConcatenationNumber=1, InConcatenationTotalNumber=2)
    save(made, folder / "a.dcm")
    return refuse("UNSUPPORTED_OBJECT")


@case()
def mosaic(folder: Path) -> Expected:
    """A mosaic of many slices in one image has one position for all of them: refused."""
    tags = {"Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}
    save(Stack().dataset(0, **tags), folder / "a.dcm")
    return refuse("UNSUPPORTED_OBJECT")


@case()
def floating_point_pixels(folder: Path) -> Expected:
    """Float Pixel Data in an image that is no parametric map: refused."""
    made = Stack().dataset(0)
    del made.PixelData
    made.add_new(0x7FE00008, "OF", np.zeros((6, 5), "<f4").tobytes())
    save(made, folder / "a.dcm")
    return refuse("UNSUPPORTED_OBJECT")


@case(
    row=21,
    variants={
        "structured_report": ("88.33", "SR", "NO_PIXELS"),
        "presentation_state": ("11.1", "PR", "NO_PIXELS"),
        "key_objects": ("88.59", "KO", "NO_PIXELS"),
        "structure_set": ("481.3", "RTSTRUCT", "NO_PIXELS"),
        "plan": ("481.5", "RTPLAN", "NO_PIXELS"),
        "document": ("104.1", "DOC", "NO_PIXELS"),
        "segmentation": ("66.4", "SEG", "UNSUPPORTED_OBJECT"),
        "dose": ("481.2", "RTDOSE", "UNSUPPORTED_OBJECT"),
    },
)
def other_object_in_the_folder(folder: Path, sop_class: str, modality: str, code: str) -> Expected:
    """Objects that are no scans are passed by, and spoil no series, not even one of the same UID."""
    Stack().write(folder)
    made = Stack().dataset(0, SOPClassUID=STORAGE + sop_class, Modality=modality, SOPInstanceUID="1.2.3.8")
    if code == "NO_PIXELS":
        for element in [element for element in made if element.tag.group in (0x0028, 0x7FE0)]:
            del made[element.tag]
    save(made, folder / "other.dcm")
    return read(Stack().truth(), ignored=code)


@case(row=21)
def junk_in_the_folder(folder: Path) -> Expected:
    """Text, an empty file and text that calls itself DICOM are named, and spoil nothing."""
    Stack().write(folder)
    (folder / "notes.txt").write_text("hello")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "text.dcm").write_text("hello " * 100)
    return read(Stack().truth(), refused="EMPTY_FILE NOT_DICOM", ignored="NOT_AN_IMAGE")


@case()
def dicomdir(folder: Path) -> Expected:
    """A DICOMDIR lists files that are read by themselves."""
    media = FileSet()
    for k in range(8):
        made = Stack().dataset(k, StudyID="1", StudyDate="20200101", StudyTime="0", SeriesNumber=1, PatientName="P")
        path = save(made, folder / "tmp" / f"{k}.dcm")
        media.add(path)
        path.unlink()
    media.write(folder / "media")
    (folder / "tmp").rmdir()
    return read(Stack().truth(), ignored="NO_PIXELS")


@case()
def no_modality(folder: Path) -> Expected:
    """Without Modality the SOP Class tells it."""
    Stack().write(folder, lambda made, k: delattr(made, "Modality"))
    return read(Stack().truth())


@case()
def nested_sequences(folder: Path) -> Expected:
    """Sequences within sequences, 60 deep, do no harm."""
    inner = Dataset()
    for _ in range(60):
        inner = item(ContentSequence=[inner])
    Stack().write(folder, lambda made, k: setattr(made, "ContentSequence", [inner]))
    return read(Stack().truth())


@case(variants={"instance": ("InstanceNumber", "99999999999"), "acquisition": ("AcquisitionNumber", "99999999999999")})
def integer_string_that_overflows(folder: Path, keyword: str, value: str) -> Expected:
    """A number of an instance beyond 32 bits breaks PS3.5 6.2, but decides nothing: the volume is read."""
    Stack(tags={keyword: 1}).write(folder)
    tag = {"InstanceNumber": b"\x20\x00\x13\x00IS", "AcquisitionNumber": b"\x20\x00\x12\x00IS"}[keyword]
    for path in folder.iterdir():
        whole = path.read_bytes()
        at = whole.index(tag) + 6
        text = value.encode() + b" " * (len(value) % 2)
        path.write_bytes(whole[:at] + len(text).to_bytes(2, "little") + text + whole[at + 4 :])
    return read(Stack().truth())


@case(variants={"rows": ("Rows", 0), "columns": ("Columns", 0), "frames": ("NumberOfFrames", 0),
                "negative_frames": ("NumberOfFrames", -3)})  # fmt: skip
def impossible_size(folder: Path, keyword: str, value: int) -> Expected:
    """No rows, columns or frames (PS3.3 C.7.6.3, C.7.6.6): refused."""
    save(Stack().dataset(0, **{keyword: value}), folder / "a.dcm")
    return refuse("CORRUPT_HEADER")


@case()
def header_over_budget(folder: Path) -> Expected:
    """65535 x 65535 x 30000: refused before a byte is allocated."""
    save(Stack().dataset(0, Rows=65535, Columns=65535, NumberOfFrames=30000), folder / "a.dcm")
    return refuse("OVER_BUDGET")
