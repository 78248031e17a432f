import pytest

from pipeline.evaluate.group_columns import group_columns


def groups_of(name, values, *, scans=2):
    """Each value twice, by two patients."""
    repeated = [value for value in values for _ in range(scans)]
    rows = [{name: value} for value in repeated]
    found = group_columns(rows, [f"p{n}" for n in range(len(rows))])
    return list(found[name][::scans]) if name in found else None


def test_ages_are_put_into_bands_whatever_the_column_is_called():
    ages = ["0", "17", "17.9", "18", "39", "40", "59", "60", "79", "80", "103", ""]
    bands = ["0-17"] * 3 + ["18-39"] * 2 + ["40-59"] * 2 + ["60-79"] * 2 + ["80+"] * 2 + ["(empty)"]
    for name in ("age", "Age", "patient_age", "PatientAge", "age (years)"):
        assert groups_of(name, ages) == bands


def test_dicom_age_strings_are_ages_in_any_column():
    found = groups_of("0010,1010", ["045Y", "017Y", "018M", "003W", "200D", "080Y", "240M"])
    assert found == ["40-59", "0-17", "0-17", "0-17", "0-17", "80+", "18-39"]


@pytest.mark.parametrize("text", ["unknown", "-3", "450", "nan", "045"])
def test_what_is_no_age_is_told_apart(text):
    assert groups_of("age", ["30", text]) == ["18-39", "40-59" if text == "045" else "(no age)"]


@pytest.mark.parametrize("name", ["stage", "image", "dosage"])
def test_a_name_that_merely_ends_in_age_is_no_age(name):
    assert groups_of(name, ["1", "2", "30"]) == ["1", "2", "30"]


def test_numbers_of_many_values_are_put_into_bands_between_rounded_quartiles():
    found = groups_of("kvp", [str(n) for n in range(61, 161)])  # quartiles 85.75, 110.5, 135.25
    assert sorted(set(found)) == ["110 to below 140", "140 and above", "86 to below 110", "below 86"]
    assert found[24] == "below 86"
    assert found[25] == "86 to below 110"


def test_a_decimal_comma_is_read():
    found = groups_of("exposure", [f"{n},5" for n in range(12)])
    assert len(set(found)) == 4


def test_few_different_numbers_stay_as_they_are():
    assert groups_of("scanner", ["1", "2", "3"]) == ["1", "2", "3"]


def test_numbers_that_name_something_are_not_shown():
    assert groups_of("study_date", [str(20200101 + n) for n in range(30)]) is None
    assert groups_of("accession", [str(4_837_200 + n) for n in range(30)]) is None


def test_a_number_that_nearly_all_share_has_no_bands():
    tilts = [str(n) for n in range(-12, 0)] + ["0"] * 88
    assert set(groups_of("tilt", tilts)) == {"below 0", "0 and above"}
    assert groups_of("shift", ["5"] * 90 + [str(6 + n) for n in range(11)]) is None


def test_a_band_of_one_patient_is_put_with_the_others():
    rows = [{"age": age} for age in ("30", "31", "50", "51", "95")]
    assert group_columns(rows, list("abcde"))["age"] == ("18-39", "18-39", "40-59", "40-59", "(other)")
    assert group_columns(rows, list("abccc"))["age"] == ("18-39", "18-39", "(other)", "(other)", "(other)")


def test_a_column_of_one_group_or_of_too_many_is_left_out_but_site_is_shown():
    rows = [{"view": "PA", "site": "a", "name": f"n{n // 2}"} for n in range(60)]
    assert list(group_columns(rows, [str(n) for n in range(60)])) == ["site"]
    assert group_columns([], []) == {}
    assert group_columns([{"site": ""}] * 3, list("abc")) == {}
