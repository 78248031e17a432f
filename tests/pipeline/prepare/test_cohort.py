"""Labels and series joined: who is trained on, who is left out, and what is refused before training."""

from dataclasses import replace

import pytest

from pipeline.config import Config
from pipeline.errors import CohortError, LabelsError, LeakageError
from pipeline.prepare.cohort import Case, Cohort, build_cohort, check_trainable, load_rows, targets
from pipeline.scan import SeriesRef


def ref(path, **changes):
    fields = {
        "source": path.name,
        "series_uid": f"1.2.{path.name}",
        "status": "ok",
        "format": "dicom",
        "modality": "CR",
        "files": (str(path),),
        "content": f"content {path.name}",
    }
    return SeriesRef(**(fields | changes))


@pytest.fixture
def scans(tmp_path):
    """Writes labels.csv and empty files; returns the CSV's path and one reference a file."""

    def build(rows, header="path,label,patient,site,split"):
        names = [row.split(",")[0] for row in rows]
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        path = tmp_path / "labels.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return path, [ref(tmp_path / name) for name in names]

    return build


def cohort_of(path, refs, **config):
    config = Config(**config)
    return build_cohort(path, load_rows(path, config), refs, config)


ROWS = ["a,normal,P1,north,train", "b,sick,P2,north,val", "c,normal,P3,south,test", "d,,P4,south,train"]


def test_rows_and_series_are_joined_in_the_order_of_the_file(scans):
    path, refs = scans(ROWS)
    cohort = cohort_of(path, refs[::-1])
    assert [case.ref.source for case in cohort.cases] == ["a", "b", "c", "d"]
    assert [case.labels for case in cohort.cases] == [("normal",), ("sick",), ("normal",), ()]
    assert [case.patient for case in cohort.cases] == ["P1", "P2", "P3", "P4"]
    assert cohort.classes == ("normal", "sick")
    assert cohort.cases[0].columns == (("site", "north"),)


def test_a_side_holds_labelled_cases_only_and_the_reader_is_told(scans):
    cohort = cohort_of(*scans(ROWS))
    assert [case.ref.source for case in cohort.side("train")] == ["a"]
    assert [case.ref.source for case in cohort.side("test")] == ["c"]
    assert cohort.notes == ("1 rows have no label and were not used",)


def test_the_header_names_the_patient_where_the_csv_does_not(scans):
    path, refs = scans(["a,normal,,n,train", "b,sick,,n,val", "c,sick,P9,n,val"])
    refs = [replace(refs[0], patient="H1"), refs[1], replace(refs[2], patient="H2")]
    cohort = cohort_of(path, refs)
    assert [(case.patient, case.known_patient) for case in cohort.cases] == [
        ("H1", True),
        ("line 3", False),
        ("P9", True),
    ]
    assert "1 rows name no patient: leakage between splits could not be checked for them" in cohort.notes


def test_leakage_through_the_headers_patient_is_found(scans):
    path, refs = scans(["a,normal,,n,train", "b,sick,,n,val"])
    with pytest.raises(LeakageError) as caught:
        cohort_of(path, [replace(item, patient="MILLER") for item in refs])
    assert "MILLER" not in str(caught.value)


def test_rows_of_other_sites_are_not_used(scans):
    path, refs = scans(ROWS)
    assert [case.ref.source for case in cohort_of(path, refs, source_sites=("north",)).cases] == ["a", "b"]
    with pytest.raises(LabelsError, match="no row of site west"):
        cohort_of(path, refs, source_sites=("west",))


def test_a_refused_series_is_left_out_and_listed(scans):
    path, refs = scans(ROWS)
    refs[0] = replace(refs[0], status="refused", reason="TRUNCATED_FILE: short")
    cohort = cohort_of(path, refs)
    assert cohort.left_out == ((2, "TRUNCATED_FILE: short"),)
    assert [case.ref.source for case in cohort.cases] == ["b", "c", "d"]
    assert "1 rows were left out because their series was refused" in cohort.notes


def test_all_refused_is_told_with_the_first_reason(scans):
    path, refs = scans(ROWS[:2])
    with pytest.raises(LabelsError, match=r"no row could be read \(EMPTY_FILE: nothing in it\)"):
        cohort_of(path, [replace(item, status="refused", reason="EMPTY_FILE: nothing in it") for item in refs])


def test_a_series_can_be_named_by_its_uid(scans):
    path, refs = scans(["a,normal,P1,n,train", "b,sick,P2,n,val"])
    path.write_text("series_uid,label,patient,split\n1.2.b,sick,P2,val\n1.2.a,normal,P1,train\n")
    assert [case.ref.source for case in cohort_of(path, refs).cases] == ["b", "a"]


def test_a_row_without_a_series_is_told_with_its_line(scans):
    path, refs = scans(ROWS)
    with pytest.raises(LabelsError, match="line 3: no series found there"):
        cohort_of(path, [refs[0], *refs[2:]])


def test_a_folder_is_a_series_and_two_in_one_folder_are_refused(scans, tmp_path):
    path, refs = scans(["s/a,normal,P1,n,train", "t/b,sick,P2,n,val", "t/c,sick,P2,n,val"])
    path.write_text("path,label,patient,split\ns,normal,P1,train\nt,sick,P2,val\n")
    with pytest.raises(LabelsError, match="line 3: 2 series there; name one by series_uid"):
        cohort_of(path, refs)
    refused = [refs[0], replace(refs[1], status="refused", reason="EMPTY_FILE: x"), refs[2]]
    assert [case.ref.source for case in cohort_of(path, refused).cases] == ["a", "c"]


def test_two_rows_that_name_one_series_are_refused(scans):
    """Two slices of one series, stated on two sides under two patients: one scan would be trained and judged on."""
    path, refs = scans(["a,normal,P1,n,train", "b,sick,P2,n,val"])
    one = replace(refs[0], files=refs[0].files + refs[1].files)
    with pytest.raises(LabelsError, match="lines 2 and 3 name the same series"):
        cohort_of(path, [one])


def test_a_row_with_normal_and_a_finding_makes_no_sense(scans):
    path, refs = scans(["a,normal|edema,P1,n,train", "b,edema|effusion,P2,n,val"])
    with pytest.raises(LabelsError, match="both 'normal' and a finding"):
        cohort_of(path, refs, task="multilabel")


def test_targets_are_indicators(scans):
    path, refs = scans(["a,normal,P1,n,train", "b,edema|effusion,P2,n,val", "c,,P3,n,train"])
    cohort = cohort_of(path, refs, task="multilabel")
    assert cohort.classes == ("normal", "edema", "effusion")
    assert targets(cohort.cases, cohort.classes).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_series_whose_pixels_turn_out_unreadable_are_taken_out_and_listed(scans):
    cohort = cohort_of(*scans(ROWS)).without({"content b": "DECODE_FAILED: x"})
    assert [case.ref.source for case in cohort.cases] == ["a", "c", "d"]
    assert [reason for _, reason in cohort.left_out] == ["DECODE_FAILED: x"]


def make_cohort(*cases, classes=("normal", "sick")):
    """Cases from (label, patient, split)."""
    return Cohort(
        classes,
        tuple(
            Case(SeriesRef(str(n), str(n), "ok"), (label,) if label else (), patient, True, split, ())
            for n, (label, patient, split) in enumerate(cases)
        ),
        (),
        (),
    )


GOOD = [("normal", "1", "train"), ("normal", "2", "val"), ("sick", "3", "train"), ("sick", "4", "val")]


def test_two_patients_of_each_class_one_a_side_are_trainable():
    check_trainable(make_cohort(*GOOD), Config())


@pytest.mark.parametrize(
    ("cases", "classes", "words"),
    [
        ([("normal", "1", "test"), ("", "2", "train")], ("normal", "sick"), "no labelled row is train or val"),
        (GOOD[:2], ("normal", "sick"), r"one class only \(normal\)"),
        (GOOD[:2], ("normal",), "one class only"),
        (GOOD, ("normal", "sick", "rare"), "class 'rare' has no row in train or val"),
        ([*GOOD[:3], ("sick", "3", "train")], ("normal", "sick"), "class 'sick' has 1 patient; at least 2 are needed"),
        ([*GOOD[:3], ("sick", "5", "train")], ("normal", "sick"), "class 'sick' has no patient in val"),
        ([*GOOD[1:], ("normal", "5", "val")], ("normal", "sick"), "class 'normal' has no patient in train"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(cases, classes, words):
    with pytest.raises(CohortError, match=words):
        check_trainable(make_cohort(*cases, classes=classes), Config())


def test_the_reader_is_told_what_there_is_of_the_target(scans):
    path, refs = scans([*ROWS, "e,,P5,far,train", "f,sick,P6,far,train", "g,sick,P7,far,test", "h,,P8,far,train"])
    notes = cohort_of(path, refs, target_sites=("far",)).notes
    assert "target far: 3 scans that are not test rows, 1 of them labelled (0 normal, 1 sick)" in notes
    assert not [note for note in cohort_of(path, refs).notes if note.startswith("target")]
