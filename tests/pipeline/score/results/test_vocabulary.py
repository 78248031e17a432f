import pytest
from pydicom.sr.codedict import codes

from pipeline.score.results.vocabulary import (
    DECISIONS,
    class_code,
    long_string,
    plain_text,
    probability_code,
    procedure,
    scheme,
)

ODD = [
    "<script>alert(1)</script>",
    "=HYPERLINK()",
    "Lungenentzündung, beidseitig und mit vielen weiteren Worten, die nicht mehr hineinpassen",
    "肺炎" * 40,
    "a\\b\\c",
    "tab\there\nand\x00there\x1b",
    "\udcff broken",
    "   ",
    "🫁" * 17,
]


@pytest.mark.parametrize("text", ODD)
def test_any_text_is_one_valid_value_of_a_long_string(text):
    found = long_string(text)
    assert 1 <= len(found.encode("utf-8")) <= 64
    assert "\\" not in found
    assert found == found.strip()
    assert all(one.isprintable() for one in found)


def test_a_name_that_fits_is_left_as_it_is():
    for text in ("<script>", "肺炎", "x" * 64, "ü" * 32):
        assert long_string(text) == text
    assert long_string("ü" * 33) == "ü" * 30 + "..."


def test_plain_text_keeps_length_and_backslash():
    assert plain_text("a\\b" + "x" * 500) == "a\\b" + "x" * 500
    assert plain_text("one\ntwo") == "one two"


def test_names_that_are_cut_alike_keep_codes_of_their_own():
    one, other = class_code("x" * 80 + "1"), class_code("x" * 80 + "2")
    assert one.meaning == other.meaning
    assert one.value != other.value
    assert {len(code.value) for code in (one, other, probability_code("肺炎" * 40))} == {13}
    assert probability_code("x").value[1:] == class_code("x").value[1:]


@pytest.mark.parametrize("text", ODD)
def test_a_class_code_is_of_the_declared_private_scheme(text):
    declared = scheme()
    assert class_code(text).scheme_designator == declared.CodingSchemeDesignator == "99SCANSHIFT"
    assert len(declared.CodingSchemeDesignator) <= 16


def test_public_concepts_have_public_codes():
    assert DECISIONS["normal"] == codes.SCT.Normal
    assert DECISIONS["anomaly"] == codes.SCT.Abnormal
    assert procedure("CR") == codes.cid100.XRUnspecifiedBodyRegion
    assert procedure("OT") == codes.cid100.ImagingProcedure
