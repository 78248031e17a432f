import csv
import stat

import pytest

from models.bundle import open_bundle
from pipeline.model_record import read_record
from pipeline.scan import SeriesRef
from pipeline.score.outcome import Outcome
from pipeline.score.table import write_scores

DIGEST = "d" * 64


def ref(source, uid="1.2", status="ok", reason="", content=""):
    return SeriesRef(source, uid, status, reason, content=content or source + uid)


def scored(normal, decision="normal"):
    return Outcome("scored", probability=(normal, 1 - normal), anomaly_score=1 - normal, decision=decision)


@pytest.fixture(scope="module")
def record(radiograph_bundle):
    return read_record(open_bundle(radiograph_bundle))


@pytest.fixture
def table(tmp_path, record):
    """Writes the table and reads it back: header, rows as dictionaries, counts."""

    def build(refs, done, record=record):
        path = tmp_path / "scores.csv"
        counts = write_scores(path, sorted(refs, key=lambda ref: ref.source), done, record, DIGEST)
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            return reader.fieldnames, list(reader), counts

    return build


def test_columns_are_those_of_the_contract(table):
    header, _, _ = table([], {})
    assert header == [
        "source",
        "series_uid",
        "status",
        "predicted",
        "anomaly_score",
        "p_normal",
        "p_opacity",
        "decision",
        "reason",
        "model",
    ]


def test_rows_are_sorted_by_source_then_series_uid(table):
    refs = [ref("b", "1.10"), ref("a", "2"), ref("b", "1.1"), ref("B", "9"), ref("a", "1")]
    _, rows, _ = table(refs, {r.key: scored(0.9) for r in refs})
    found = [(row["source"], row["series_uid"]) for row in rows]
    assert found == [("B", "9"), ("a", "1"), ("a", "2"), ("b", "1.1"), ("b", "1.10")]


def test_series_out_of_order_are_not_written(tmp_path, record):
    refs = [ref("b"), ref("a")]
    with pytest.raises(ValueError, match="out of order"):
        write_scores(tmp_path / "scores.csv", refs, {r.key: scored(0.9) for r in refs}, record, DIGEST)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("source", ["a\rb", "\r", "a\nb", "a\r\nb"])
def test_a_name_with_a_line_break_stays_one_cell(table, source):
    one = ref(source)
    _, rows, _ = table([one], {one.key: scored(0.9)})
    assert [(row["source"], row["status"], row["model"]) for row in rows] == [(source, "scored", DIGEST)]


def test_numbers_have_four_decimals(table):
    one = ref("a")
    _, rows, _ = table([one], {one.key: scored(0.00004)})
    assert (rows[0]["p_normal"], rows[0]["p_opacity"], rows[0]["anomaly_score"]) == ("0.0000", "1.0000", "1.0000")
    assert rows[0]["predicted"] == "opacity"
    _, rows, _ = table([one], {one.key: scored(0.123456)})
    assert rows[0]["p_normal"] == "0.1235"


def test_every_status_has_its_row(table):
    refs = [ref("a"), ref("b", status="refused", reason="EMPTY_FILE: the file is empty"), ref("c"), ref("e")]
    refs.append(ref("d", uid="", status="ignored", reason="ARCHIVE: archive, not opened"))
    done = {refs[0].key: scored(0.2, "anomaly"), refs[2].key: Outcome("failed", "UNREADABLE: gone")}
    done[refs[3].key] = Outcome("refused", "NO_CONTRAST: constant")
    _, rows, counts = table(refs, done)
    assert [row["status"] for row in rows] == ["scored", "refused", "failed", "ignored", "refused"]
    assert counts == {"scored": 1, "refused": 2, "failed": 1, "ignored": 1}
    for row in rows:
        assert row["model"] == DIGEST
        told = [row["predicted"], row["anomaly_score"], row["p_normal"], row["p_opacity"], row["decision"]]
        assert all(told) if row["status"] == "scored" else not any(told)
        assert bool(row["reason"]) == (row["status"] != "scored")


def test_series_not_done_yet_have_no_row(table):
    refs = [ref("a"), ref("b")]
    _, rows, counts = table(refs, {refs[1].key: scored(0.9)})
    assert [row["source"] for row in rows] == ["b"]
    assert counts == {"scored": 1}


def test_two_places_of_one_content_get_a_row_each(table):
    refs = [ref("a", content="same"), ref("b", content="same")]
    _, rows, _ = table(refs, {"same": scored(0.9)})
    assert [row["source"] for row in rows] == ["a", "b"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_cells_that_look_like_formulas_are_escaped(table, record, start):
    evil = f'{start}HYPERLINK("http://x","y")'
    one = ref("a", uid=evil)
    two = ref(evil, status="refused", reason=evil)
    classes = ("normal", evil)
    changed = record.model_copy(update={"classes": classes})
    _, rows, _ = table([one, two], {one.key: scored(0.1)}, changed)
    by_status = {row["status"]: row for row in rows}
    assert by_status["scored"]["series_uid"] == f"'{evil}"
    assert by_status["scored"]["predicted"] == f"'{evil}"
    assert by_status["refused"]["reason"] == f"'{evil}"
    assert by_status["refused"]["source"] == evil  # a path stays a path


def test_only_its_owner_may_read_it(table, tmp_path):
    table([], {})
    assert stat.S_IMODE((tmp_path / "scores.csv").stat().st_mode) == 0o600


def test_cells_with_commas_quotes_and_newlines_stay_one_cell(table):
    odd = 'a, "b"\nc/ü.dcm'
    one = ref(odd)
    _, rows, _ = table([one], {one.key: scored(0.9)})
    assert [row["source"] for row in rows] == [odd]
