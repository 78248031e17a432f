import pytest

from pipeline.check.shown import shown, shown_code, shown_reason
from pipeline.scan import SeriesRef


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gap 7.5 mm at 3, expected 2.5 mm", "gap 7.5 mm at 3, expected 2.5 mm"),
        ("syntax 1.2.840.113619.5.2 has no decoder", "syntax (UID) has no decoder"),
        ("one\x1b[31m\ntwo\ttwo\x00", "one [31m two two"),
        ("\u202etxt", "txt"),
        ("x" * 400, "x" * 300),
    ],
)
def test_control_characters_and_uids_are_not_shown(text, expected):
    assert shown(text) == expected


@pytest.mark.parametrize(("code", "expected"), [("CT", "CT"), ("Meier^Anna", "other"), ("<b>", "other"), ("", "other")])
def test_only_code_strings_are_shown(code, expected):
    assert shown_code(code) == expected


@pytest.mark.parametrize(
    ("modality", "reason", "expected"),
    [
        ("CR", "UNSUPPORTED_COLOUR: photometric interpretation 'HSV'", "interpretation 'HSV'"),
        ("CR", "UNSUPPORTED_COLOUR: photometric interpretation 'Meier^Anna'", "interpretation (not shown)"),
        ("CR", 'UNSUPPORTED_COLOUR: photometric interpretation "d\'Arc"', "interpretation (not shown)"),
        ("Meier^Anna", "UNSUPPORTED_COLOUR: RGB where Meier^Anna has one intensity", "RGB where (not shown) has one"),
        ("", "EMPTY_FILE: the file is empty", "the file is empty"),
    ],
)
def test_what_a_reason_quotes_is_shown_only_where_it_is_a_code(modality, reason, expected):
    told = shown_reason(SeriesRef("s", "1", "refused", reason, modality=modality))
    assert expected in told
    assert "Meier" not in told
