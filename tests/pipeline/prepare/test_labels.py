"""labels.csv as people and spreadsheets write it."""

import pytest

from pipeline.config import Config
from pipeline.errors import LabelsError, SourceError
from pipeline.prepare.labels import read_labels, resolve_classes

TABLE = [["path", "label", "patient", "split"], ["a.png", "normal", "P1", "train"], ["b.png", "Lungenödem", "P2", ""]]


@pytest.fixture
def write(tmp_path):
    """Writes a labels.csv beside three scans and returns its path."""
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"")

    def save(content, encoding="utf-8"):
        path = tmp_path / "labels.csv"
        path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
        return path

    return save


def joined(delimiter=",", end="\n", table=TABLE):
    return "".join(delimiter.join(row) + end for row in table)


def assert_is_table(rows, folder):
    assert [row.path for row in rows] == [str(folder / "a.png"), str(folder / "b.png")]
    assert [row.labels for row in rows] == [("normal",), ("Lungenödem",)]
    assert [row.patient for row in rows] == ["P1", "P2"]
    assert [row.split for row in rows] == ["train", ""]
    assert [row.line for row in rows] == [2, 3]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_as_a_spreadsheet_writes_it(write, tmp_path, delimiter, end, encoding):
    assert_is_table(read_labels(write(joined(delimiter, end), encoding)), tmp_path)


def test_big_endian_utf_16(write, tmp_path):
    assert_is_table(read_labels(write(b"\xfe\xff" + joined().encode("utf-16-be"))), tmp_path)


def test_trailing_blanks_and_empty_columns_and_rows(write, tmp_path):
    text = "path ; label;patient ;split;;\na.png ; normal;P1; train ;;\n;;;;;\nb.png;Lungenödem ;P2;;;\n;;;;;\n\n"
    rows = read_labels(write(text))
    assert [row.line for row in rows] == [2, 4]
    assert [(row.labels, row.patient, row.split) for row in rows] == [
        (("normal",), "P1", "train"),
        (("Lungenödem",), "P2", ""),
    ]
    assert [row.path for row in rows] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def test_empty_columns_in_the_middle_are_no_columns(write):
    (row,) = read_labels(write("path,,label,,site\na.png,,normal,,north\n"))
    assert row.labels == ("normal",)
    assert row.columns == (("site", "north"),)


def test_quoted_cells_may_hold_the_delimiter(write):
    (row,) = read_labels(write('path,label,note\na.png,normal,"left, lower"\n'))
    assert row.column("note") == "left, lower"


def test_short_rows_are_filled_and_long_ones_refused(write):
    (row,) = read_labels(write("path,label,site\na.png,normal\n"))
    assert row.column("site") == ""
    with pytest.raises(LabelsError, match="line 2: 4 cells, expected 3"):
        read_labels(write("path,label,site\na.png,normal,north,more\n"))


def test_further_columns_are_kept_in_order(write):
    (row,) = read_labels(write("site,path,label,vendor\nnorth,a.png,normal,X\n"))
    assert row.columns == (("site", "north"), ("vendor", "X"))
    assert row.column("vendor") == "X"
    assert row.column("age") == ""


def test_an_empty_label_is_unlabelled(write):
    (row,) = read_labels(write("path,label\na.png,\n"))
    assert row.labels == ()


def test_the_split_may_be_in_capitals_and_nothing_else(write):
    assert read_labels(write("path,label,split\na.png,n,Train\n"))[0].split == "train"
    with pytest.raises(LabelsError, match="line 2: split 'dev', expected one of train, val, test or an empty cell"):
        read_labels(write("path,label,split\na.png,n,dev\n"))


def test_several_labels_need_a_multilabel_task(write):
    path = write("path,label\na.png,edema | effusion|edema|\n")
    assert read_labels(path, task="multilabel")[0].labels == ("edema", "effusion")
    with pytest.raises(LabelsError, match="line 2: several labels in one cell, but task is multiclass"):
        read_labels(path)


def test_another_label_column_and_label_where_its_cell_is_empty(write):
    path = write("path,label,subtype\na.png,pneumonia,viral\nb.png,normal,\n")
    rows = read_labels(path, label_column="subtype")
    assert [row.labels for row in rows] == [("viral",), ("normal",)]
    assert rows[0].column("label") == "pneumonia"


def test_a_path_may_be_absolute_or_of_windows(write, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.png").write_bytes(b"")
    rows = read_labels(write(f"path,label\nsub\\d.png,n\n{tmp_path / 'a.png'},n\n"))
    assert [row.path for row in rows] == [str(tmp_path / "sub" / "d.png"), str(tmp_path / "a.png")]


def test_a_series_uid_names_a_series_without_a_path(write):
    (row,) = read_labels(write("series_uid,label\n1.2.3,normal\n"))
    assert (row.series_uid, row.path) == ("1.2.3", "")


def test_a_uid_that_scanshift_guarded_against_formulas_is_the_uid(write):
    (row,) = read_labels(write("series_uid,label\n'-1.2,'+positive\n"))
    assert (row.series_uid, row.labels) == ("-1.2", ("+positive",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.png,n\n", "needs a column `path` .*found file, label"),
        ("path,class\na.png,n\n", "needs a column `label`; found path, class"),
        ("path,label,label\na.png,n,n\n", "column `label` stands twice"),
        ("path,label\n", "no rows below the header"),
        ("", "no header row"),
        ("\n\n", "no header row"),
        (";;;\na.png;n\n", "no header row"),
        ("path,label\n,n\n", "line 2: neither path nor series_uid"),
        ("path,label\na.png,n\n./a.png,m\n", "lines 2 and 3 name the same series"),
        ("series_uid,label\n1.2,n\n1.2,n\n", "lines 2 and 3 name the same series"),
        ("path,label\na.png,n\nx.png,n\n", "line 3 names a file that is not there"),
        ("path,label\nx.png,n\na.png,n\ny.png,n\n", r"lines 2, 4 \(2 of them\) name files that are not there"),
        ('path,label\n"a.png,n\n' + "x" * 140_000, "not readable as CSV"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(write, text, words):
    with pytest.raises(LabelsError, match=words):
        read_labels(write(text))


def test_many_missing_files_are_told_shortly(write):
    with pytest.raises(LabelsError, match=r"lines 2, 3, 4, 5, 6, \.\.\. \(20 of them\)"):
        read_labels(write("path,label\n" + "".join(f"x{n}.png,n\n" for n in range(20))))


def test_a_spreadsheet_file_instead_of_csv_is_told(write):
    with pytest.raises(LabelsError, match="not a text file; save it as CSV"):
        read_labels(write(b"PK\x03\x04\x00\x00\x00\x00 xlsx"))


def test_a_missing_file_is_told(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(SourceError):
            read_labels(path)


def test_no_message_names_a_patient(write):
    for text in ("path,label,patient,split\na.png,n,MILLER,dev\n", "path,label,patient\nx.png,n,MILLER\n"):
        with pytest.raises(LabelsError) as caught:
            read_labels(write(text))
        assert "MILLER" not in str(caught.value)


@pytest.fixture
def rows_of(write):
    """Rows with some labels."""

    def build(*labels, task="multiclass"):
        names = ("a.png", "b.png", "c.png")
        body = "".join(f"{name},{label}\n" for name, label in zip(names, labels, strict=False))
        return read_labels(write(f"path,label\n{body}"), task=task)

    return build


def test_the_normal_class_is_known_by_name_and_stands_first(rows_of):
    assert resolve_classes(rows_of("zoster", "Normal", "abscess"), Config()) == ("Normal", "abscess", "zoster")


def test_without_a_known_name_the_normal_class_must_be_said(rows_of):
    with pytest.raises(LabelsError, match=r"which class is the normal one\? .*classes=\[cat,dog\]"):
        resolve_classes(rows_of("dog", "cat"), Config())
    assert resolve_classes(rows_of("dog", "cat"), Config(classes=("dog", "cat"))) == ("dog", "cat")


def test_a_label_that_is_not_in_classes_is_told_with_its_line(rows_of):
    with pytest.raises(LabelsError, match=r"label 'catt' \(line 3\) is not in classes \(dog, cat\)"):
        resolve_classes(rows_of("dog", "catt"), Config(classes=("dog", "cat")))


def test_for_one_class_any_other_label_is_an_anomaly(rows_of):
    assert resolve_classes(rows_of("dog", "cat"), Config(classes=("dog",), task="one_class")) == ("dog", "cat")


def test_no_label_at_all_is_told(rows_of):
    with pytest.raises(LabelsError, match="no row has a label"):
        resolve_classes(rows_of("", ""), Config())
