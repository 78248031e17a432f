"""UIDs of a file, read from hand-placed bytes: every encoding, sequences before them, and files that mislead."""

import struct
import zlib

import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pipeline.errors import ScanError
from pipeline.pacs.object_ids import read_ids
from tests.pipeline.pacs.sender import CT, image

UIDS = ((0x0008, 0x0016, CT), (0x0008, 0x0018, "1.2.3"), (0x0020, 0x000D, "1.4"), (0x0020, 0x000E, "1.5"))


def explicit(group, element, vr, value, order="<"):
    """An element with its VR."""
    value += b"\0" * (len(value) % 2)
    if vr in (b"SQ", b"UN", b"OB", b"UT"):
        return struct.pack(f"{order}HH2sHI", group, element, vr, 0, len(value)) + value
    return struct.pack(f"{order}HH2sH", group, element, vr, len(value)) + value


def meta(syntax):
    """Preamble and file meta."""
    return b"\0" * 128 + b"DICM" + explicit(2, 0x10, b"UI", syntax.encode())


def elements(before=b"", uids=UIDS):
    """The data set's UIDs in Explicit VR Little Endian, with something between the second and the third."""
    parts = [explicit(group, element, b"UI", value.encode()) for group, element, value in uids]
    return b"".join(parts[:2]) + before + b"".join(parts[2:])


@pytest.fixture
def ids(tmp_path):
    """Reads the UIDs of a file of these bytes."""

    def read(content):
        path = tmp_path / "x.dcm"
        path.write_bytes(content)
        return read_ids(path)

    return read


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_encoding_as_pydicom_writes_it(tmp_path, syntax):
    ds = image(3, 4)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.ReferencedImageSequence = [pydicom.Dataset()]
    ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "9.9"
    ds.ReferencedImageSequence[0].StudyInstanceUID = "9.8"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CT, ds.SOPInstanceUID
    path = tmp_path / "x.dcm"
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    found = read_ids(path)
    assert (found.sop_class, found.sop_instance) == (CT, "1.2.826.9.3.5")
    assert (found.study, found.series, found.syntax) == ("1.2.826.8.3", "1.2.826.7.3", syntax)
    if syntax != DeflatedExplicitVRLittleEndian:  # the first element of the data set is (0008,0016)
        wanted = b"\0\x08\0\x16" if syntax == ExplicitVRBigEndian else b"\x08\0\x16\0"
        assert path.read_bytes()[found.start :][:4] == wanted


UNDEFINED = b"\xff\xff\xff\xff"
ITEM, ITEM_END, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0" + b"\0" * 4, b"\xfe\xff\xdd\xe0" + b"\0" * 4
DECOY = explicit(0x0020, 0x000E, b"UI", b"6.6.6")
NESTED = {
    "sequence": struct.pack("<HH2sH", 8, 0x1140, b"SQ", 0) + UNDEFINED + ITEM + UNDEFINED + DECOY + ITEM_END + END,
    "defined item": struct.pack("<HH2sH", 8, 0x1140, b"SQ", 0)
    + UNDEFINED
    + ITEM
    + struct.pack("<I", len(DECOY))
    + DECOY
    + END,
    "defined sequence": explicit(8, 0x1140, b"SQ", ITEM + struct.pack("<I", len(DECOY)) + DECOY),
    "unknown": struct.pack("<HH2sH", 9, 0x1010, b"UN", 0)
    + UNDEFINED
    + ITEM
    + UNDEFINED
    + struct.pack("<HHI", 0x0020, 0x000E, 6)
    + b"6.6.6\0"
    + ITEM_END
    + END,
    "private bulk": explicit(9, 0x1010, b"OB", b"x" * 70_000),
}


@pytest.mark.parametrize("before", NESTED.values(), ids=NESTED)
def test_what_lies_in_sequences_is_stepped_over(ids, before):
    found = ids(meta(ExplicitVRLittleEndian) + elements(before))
    assert (found.sop_class, found.sop_instance, found.study, found.series) == (CT, "1.2.3", "1.4", "1.5")


BAD = {
    "empty": b"",
    "no preamble": elements(),
    "meta alone": meta(ExplicitVRLittleEndian),
    "meta that never ends": b"\0" * 128 + b"DICM" + struct.pack("<HH2sHI", 2, 1, b"OB", 0, 0xFFFFFFF0),
    "cut in a uid": meta(ExplicitVRLittleEndian) + elements()[:-2],
    "no series": meta(ExplicitVRLittleEndian) + elements(uids=UIDS[:3]) + explicit(0x28, 0x10, b"US", b"\1\0"),
    "path for a uid": meta(ExplicitVRLittleEndian) + elements(uids=(*UIDS[:3], (0x20, 0xE, "../../etc/passwd"))),
    "uid of 65": meta(ExplicitVRLittleEndian) + elements(uids=(*UIDS[:3], (0x20, 0xE, "1" * 65))),
    "uid of 2 GB": meta(ExplicitVRLittleEndian) + struct.pack("<HH2sHI", 8, 0x16, b"UT", 0, 2**31),
    "bytes beyond ascii": meta(ExplicitVRLittleEndian) + elements().replace(b"1.2.3\0", b"\xff\xfe\xfd\xfc\xfb\0"),
    "length beyond the file": meta(ExplicitVRLittleEndian)
    + elements(struct.pack("<HH2sHI", 9, 0x1010, b"OB", 0, 0xFFFFFFF0)),
    "nested 100,000 deep": meta(ExplicitVRLittleEndian)
    + elements((struct.pack("<HH2sH", 8, 0x1140, b"SQ", 0) + UNDEFINED + ITEM + UNDEFINED) * 100_000),
    "deflated junk": meta(DeflatedExplicitVRLittleEndian) + b"junk",
    "delimiters alone": meta(ExplicitVRLittleEndian) + END * 10,
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_what_names_no_object_is_refused(ids, content):
    with pytest.raises(ScanError) as told:
        ids(content)
    assert told.value.code in ("NOT_DICOM", "CORRUPT_HEADER")
    assert "etc" not in told.value.words


def test_a_deflated_gigabyte_costs_a_few_megabytes(ids, tmp_path):
    import tracemalloc

    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflate.compress(elements()[:40] + struct.pack("<HH2sHI", 9, 0x1010, b"OB", 0, 2**30))
    bomb += b"".join(deflate.compress(bytes(2**20)) for _ in range(256)) + deflate.flush()
    tracemalloc.start()
    with pytest.raises(ScanError):
        ids(meta(DeflatedExplicitVRLittleEndian) + bomb)
    assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    tracemalloc.stop()
