"""Parts of an answer, however its bytes are cut into pieces, and answers that break off or mislead."""

import pytest

from pipeline.errors import PacsError
from pipeline.pacs.multipart import LONGEST_HEADER, PartReader, boundary_of

HEAD = b"Content-Type: application/dicom\r\n\r\n"
BODIES = [b"first", b"", b"\r\n--almost\r\n--B almost", b"last\r\n"]
ANSWER = b"preamble\r\n" + b"".join(b"--BOUND\r\n" + HEAD + body + b"\r\n" for body in BODIES) + b"--BOUND--\r\nrest"


def read(answer, folder, *, size=1000, longest=10**6):
    """What the parts hold, given pieces of a size."""
    pieces = (answer[start : start + size] for start in range(0, len(answer), size))
    names = iter(folder / str(number) for number in range(100))
    reader = PartReader(pieces, b"BOUND", longest)
    found = []
    for path in reader.parts(lambda: next(names)):
        found.append(path.read_bytes())
        path.unlink()
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_parts_come_whole_however_the_answer_is_cut(tmp_path, size):
    assert read(ANSWER, tmp_path, size=size) == BODIES


def test_an_answer_may_begin_with_its_boundary_and_hold_no_part(tmp_path):
    assert read(ANSWER.removeprefix(b"preamble\r\n"), tmp_path) == BODIES
    assert read(b"--BOUND--", tmp_path) == []


@pytest.mark.parametrize("end", range(0, ANSWER.index(b"--BOUND--") + len(b"--BOUND--"), 5))
def test_a_part_that_breaks_off_leaves_no_file(tmp_path, end):
    with pytest.raises(PacsError, match="broke off") as told:
        read(ANSWER[:end], tmp_path, size=3)
    assert told.value.again
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"--BOUND\r\nContent-Type: text/html\r\n\r\n<html>\r\n--BOUND--", "not application/dicom"),
        (b"--BOUND\r\nContent-Length: 3\r\n\r\nabc\r\n--BOUND--", "not application/dicom"),
        (b"--BOUND\r\n" + b"X: " + b"y" * (LONGEST_HEADER + 2000), "no end to its header"),
        (b"--BOUND\r\n" + HEAD + b"x" * 2000 + b"\r\n--BOUND--", "larger than allowed"),
    ],
)
def test_a_part_that_is_no_object_is_refused(tmp_path, answer, why):
    with pytest.raises(PacsError, match=why) as told:
        read(answer, tmp_path, size=100, longest=1000)
    assert not told.value.again
    assert list(tmp_path.iterdir()) == []


def test_the_boundary_is_found_in_the_content_type():
    assert boundary_of('multipart/related; type="application/dicom"; boundary=abc') == b"abc"
    assert boundary_of('Multipart/Related;boundary="a b:c"; type="application/dicom"') == b"a b:c"


@pytest.mark.parametrize(
    "kind",
    ["text/html", "", "multipart/related", "multipart/related; boundary=" + "x" * 71, "multipart/mixed; boundary=a"],
)
def test_another_content_type_is_refused(kind):
    with pytest.raises(PacsError, match="DICOMweb"):
        boundary_of(kind)
