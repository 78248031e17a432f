"""What is found is told as ingest and scoring would: no file stops the others, nothing is written."""

import csv
import json
import re
import stat
from pathlib import Path

import numpy as np
import pytest

from pipeline.check.as_json import check_record
from pipeline.check.as_text import text_lines
from pipeline.check.survey import check_sources
from pipeline.check.trial import load_trial
from pipeline.check.write import write_check
from pipeline.errors import SourceError
from pipeline.ingest.scan_folder import scan_sources
from pipeline.score.folder import score_folder

PLANT = "Mueller"
UID = re.compile(r"\d+(\.\d+){4,}")


@pytest.fixture
def planted(tmp_path, radiograph, slices, write, write_all):
    """Series whose every text and path names a patient; one is cut short, one note is no scan."""
    texts = {
        "PatientID": f"{PLANT}_1",
        "PatientName": f"{PLANT}^Hans",
        "SeriesDescription": f"Thorax {PLANT}",
        "InstitutionName": PLANT,
        "StationName": PLANT,
        "SeriesInstanceUID": "1.2.276.0.7230010.3.1",
    }
    folder = tmp_path / "scans" / f"{PLANT}_Hans"
    write_all(slices, folder / "ct", **texts)
    film = radiograph(np.arange(30, dtype=np.uint16).reshape(6, 5), **texts | {"SeriesInstanceUID": "1.2.276.0.9.1"})
    write(film, folder / f"{PLANT}.dcm")
    whole = (folder / f"{PLANT}.dcm").read_bytes()
    film.SeriesInstanceUID, film.SOPInstanceUID = "1.2.276.0.9.2", "1.2.276.0.9.3"
    write(film, folder / f"{PLANT}_cut.dcm")
    cut = folder / f"{PLANT}_cut.dcm"
    cut.write_bytes(cut.read_bytes()[:-20])
    (folder / f"{PLANT}_copy.dcm").write_bytes(whole)
    (folder / f"{PLANT}.txt").write_text(PLANT)
    return tmp_path / "scans"


def test_rows_are_those_of_ingest_in_its_order(planted):
    refs = scan_sources([planted])
    rows = check_sources([planted], headers_only=True).rows
    assert [row.number for row in rows] == list(range(1, len(refs) + 1))
    assert [(row.ref.source, row.ref.series_uid) for row in rows] == [(ref.source, ref.series_uid) for ref in refs]


def test_what_would_be_scored_is_what_is_scored(samples, radiograph_bundle, tmp_path):
    score_folder(samples / "incoming", radiograph_bundle, tmp_path / "out", device="cpu")
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        scored = [(row["source"], row["status"], row["reason"]) for row in csv.DictReader(file)]
    check = check_sources([samples / "incoming"], trial=load_trial(radiograph_bundle, "cpu"))
    status = {"ok": "scored"}
    told = [(row.ref.source, status.get(row.ref.status, row.ref.status), row.ref.reason) for row in check.rows]
    assert told == scored


def test_pixels_that_cannot_be_decoded_refuse_the_series(tmp_path, radiograph, write, check_folder):
    ds = radiograph(np.zeros((6, 5), dtype=np.uint16))
    ds.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0\xff\xd8\xff\xd9\xfe\xff\xdd\xe0\0\0\0\0"
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    write(ds, tmp_path / "scans" / "a.dcm", "1.2.840.10008.1.2.4.70")
    (row,) = check_folder().rows
    assert row.ref.status == "refused"
    assert row.measured is None
    assert row.chain.steps
    assert check_folder(headers_only=True).rows[0].ref.status == "ok"


def test_nothing_found_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="nothing found"):
        check_sources([tmp_path])


@pytest.mark.parametrize("headers_only", [True, False], ids=["headers", "pixels"])
def test_neither_text_nor_json_nor_page_names_anyone(planted, tmp_path, radiograph_bundle, headers_only):
    check = check_sources([planted], trial=load_trial(radiograph_bundle, "cpu"), headers_only=headers_only)
    write_check(check, tmp_path / "out")
    told = {
        "text": "\n".join(text_lines(check)),
        "json": json.dumps(check_record(check)),
        "page": (tmp_path / "out" / "check.html").read_text(),
        "file": (tmp_path / "out" / "check.json").read_text(),
    }
    for name, text in told.items():
        assert PLANT not in text, name
        assert str(tmp_path) not in text, name
        assert ".dcm" not in text, name
        assert not UID.search(text), (name, UID.search(text))


def test_names_are_told_to_who_asks_for_them(planted):
    check = check_sources([planted], headers_only=True)
    text = "\n".join(text_lines(check, names=True))
    record = check_record(check, names=True)
    for told in (text, json.dumps(record)):
        assert f"{PLANT}_Hans/ct" in told
        assert "1.2.276.0.7230010.3.1" in told
        assert f"{PLANT}.txt" in told
    assert {row["number"]: row["source"] for row in [*record["series"], *record["files"]]} == {
        row.number: row.ref.source for row in check.rows
    }


def test_the_table_says_what_each_number_is_and_is_private(planted, tmp_path):
    check = check_sources([planted])
    write_check(check, tmp_path / "out")
    path = tmp_path / "out" / "series.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = [(row["number"], row["source"], row["series_uid"], row["status"], row["reason"]) for row in rows]
    assert told == [
        (str(row.number), row.ref.source, row.ref.series_uid, row.ref.status, row.ref.reason) for row in check.rows
    ]
    assert {row["status"] for row in rows} == {"ok", "refused", "ignored"}


def test_a_turned_radiograph_is_so_in_the_table(tmp_path, radiograph, write, check_folder):
    ds = radiograph(np.arange(30, dtype=np.uint16).reshape(6, 5), PhotometricInterpretation="MONOCHROME1")
    write(ds, tmp_path / "scans" / "a.dcm")
    write_check(check_folder(), tmp_path / "out")
    with (tmp_path / "out" / "series.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["inverted"], row["shape"]) == ("true", "5x6x1")


def test_the_written_record_is_the_one_that_is_told(planted, tmp_path):
    check = check_sources([planted])
    write_check(check, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "check.json").read_text()) == json.loads(json.dumps(check_record(check)))


def test_one_code_for_refused_and_ignored_counts_both(planted):
    record = check_record(check_sources([planted]))
    assert record["counts"] == {"ok": 2, "refused": 1, "ignored": 2}
    assert record["reasons"]["TRUNCATED_PIXELS"]["refused"] == 1
    assert record["reasons"]["DUPLICATE_FILE"] == {"refused": 0, "ignored": 1, "right": "Nothing.", "numbers": [3]}
    assert sum(found["refused"] + found["ignored"] for found in record["reasons"].values()) == 3


def test_a_zip_archive_is_looked_into(planted, tmp_path):
    import zipfile

    from pipeline.ingest.archives import passing_archives

    with zipfile.ZipFile(tmp_path / "sent.zip", "w") as archive:
        for path in sorted(planted.rglob("*.dcm")):
            archive.write(path, path.relative_to(planted))
    with passing_archives(everywhere=False) as archives:
        check = check_sources([tmp_path / "sent.zip"], archives=archives)
    assert check_record(check)["counts"] == {"ok": 2, "refused": 1, "ignored": 1}


def test_every_key_of_the_record_is_on_the_page_of_formats(planted, radiograph_bundle):
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_0-9]+)[`.]", page))
    record = check_record(check_sources([planted], trial=load_trial(radiograph_bundle, "cpu")), names=True)
    parts = [record["bundle"], record["overlap"], record["time"], record["syntaxes"][0], record["decoders"][0]]
    keys = {key for part in [*parts, *record["series"], *record["files"]] for key in part}
    assert keys - named == set()
    assert set(record) - named - {"scanshift", "created"} == set()
