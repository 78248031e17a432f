import csv

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Config
from pipeline.errors import SourceError
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.cohort import build_cohort, load_rows
from pipeline.prepare.template import class_folders, write_template
from pipeline.scan import SeriesRef


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(path)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def refs_of(*sources):
    return [SeriesRef(source, f"1.{n}", "ok") for n, source in enumerate(sources)]


@pytest.fixture
def sorted_folder(tmp_path):
    """Three pictures in each of two class folders."""
    folder = tmp_path / "scans"
    for n in range(3):
        picture(folder / "normal" / f"{n}.png", n)
        picture(folder / "sick" / "deep" / f"{n}.png", 10 + n)
    return folder


def test_labels_come_from_class_folders_and_the_file_can_be_read_back(sorted_folder, tmp_path):
    path = tmp_path / "deep" / "labels.csv"
    refs = scan_sources([sorted_folder])
    assert write_template(sorted_folder, path, refs) == {"rows": 6, "labelled": 6}
    assert table(path)[0] == {
        "path": "../scans/normal/0.png",
        "series_uid": "",
        "label": "normal",
        "patient": "",
        "site": "",
        "split": "",
    }
    cohort = build_cohort(path, load_rows(path, Config()), refs, Config())
    assert [case.labels for case in cohort.cases] == [("normal",)] * 3 + [("sick",)] * 3
    assert {case.ref.key for case in cohort.cases} == {ref.key for ref in refs}


def test_the_file_is_the_owners_alone(sorted_folder, tmp_path):
    write_template(sorted_folder, tmp_path / "labels.csv", scan_sources([sorted_folder]))
    assert (tmp_path / "labels.csv").stat().st_mode & 0o077 == 0


def test_folders_that_are_no_classes_leave_the_label_empty(tmp_path):
    picture(tmp_path / "scans" / "one" / "a.png", 1)
    picture(tmp_path / "scans" / "two" / "b.png", 2)
    refs = scan_sources([tmp_path / "scans"])
    assert write_template(tmp_path / "scans", tmp_path / "labels.csv", refs) == {"rows": 2, "labelled": 0}
    assert {row["label"] for row in table(tmp_path / "labels.csv")} == {""}


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([f"{c}/{n}" for c in "ab" for n in range(3)], True),
        ([f"{c}/{n}" for c in "ab" for n in range(2)], False),
        ([f"a/{n}" for n in range(9)], False),
        ([f"{c}/{n}" for c in range(21) for n in range(3)], False),
        ([*(f"{c}/{n}" for c in "ab" for n in range(3)), "loose.png"], False),
    ],
)
def test_class_folders_are_2_to_20_with_3_series_or_more(sources, expected):
    assert class_folders(refs_of(*sources)) is expected


def test_series_that_share_a_folder_are_told_apart_by_uid(tmp_path):
    refs = [*refs_of("study", "study"), SeriesRef("other", "1.9", "ok")]
    write_template(tmp_path, tmp_path / "labels.csv", refs)
    assert [(row["path"], row["series_uid"]) for row in table(tmp_path / "labels.csv")] == [
        ("", "1.0"),
        ("", "1.1"),
        ("other", ""),
    ]


@pytest.mark.parametrize("outer", ["study", "."])
def test_a_series_in_a_folder_with_further_series_below_is_named_by_uid(tmp_path, outer):
    """The folder alone would name both."""
    refs = [
        SeriesRef(outer, "1.0", "ok", files=(str(tmp_path / outer / "a"), str(tmp_path / outer / "b"))),
        SeriesRef("study/below", "1.1", "ok", files=(str(tmp_path / "study/below/c"),)),
    ]
    write_template(tmp_path, tmp_path / "labels.csv", refs)
    assert [(row["path"], row["series_uid"]) for row in table(tmp_path / "labels.csv")] == [
        ("", "1.0"),
        ("study/below", ""),
    ]


def test_a_class_folder_that_looks_like_a_formula_comes_back_as_it_was(tmp_path):
    for n in range(3):
        picture(tmp_path / "scans" / "normal" / f"{n}.png", n)
        picture(tmp_path / "scans" / "+ve" / f"{n}.png", 10 + n)
    write_template(tmp_path / "scans", tmp_path / "labels.csv", scan_sources([tmp_path / "scans"]))
    assert {row["label"] for row in table(tmp_path / "labels.csv")} == {"normal", "'+ve"}
    assert {row.labels for row in load_rows(tmp_path / "labels.csv", Config())} == {("normal",), ("+ve",)}


def test_nothing_readable_is_told_and_no_file_made(tmp_path):
    with pytest.raises(SourceError, match="no readable series below it"):
        write_template(tmp_path, tmp_path / "labels.csv", [SeriesRef("x", "", "refused", "EMPTY_FILE: x")])
    assert not (tmp_path / "labels.csv").exists()
