import pytest

from pipeline.check.shown import shown, shown_code


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
