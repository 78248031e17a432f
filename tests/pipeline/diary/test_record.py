import json
from dataclasses import replace

import pytest

from pipeline.diary.night import name_of, name_of_key, new_refs, outcomes_of
from pipeline.diary.page import render
from pipeline.diary.record import Diary, Row, Seen
from pipeline.errors import ConfigError, DiaryError
from pipeline.scan import SeriesRef
from pipeline.score.outcome import Outcome

BUNDLE = "b" * 64


def row(night="2026-01-02", bundle=BUNDLE, **more):
    return Row(night=night, bundle=bundle, counts={"scored": 2}, **more)


def ref(content, status="ok", source=""):
    return SeriesRef(source=source or content, series_uid="1.2", status=status, content=content)


def seen(*names):
    return {name: Seen(f"place of {name}", "scored") for name in names}


def test_rows_come_back_as_they_were_written_in_order_of_nights(tmp_path):
    diary = Diary(tmp_path)
    late = row("2026-01-03", scores={"0.5": 0.25}, proposals=("look",), shift={"fields": {"KVP (kV)": 1e-9}}, p=0.1)
    diary.put(late, seen("x"))
    diary.put(row(), seen("y"))
    assert diary.rows() == [row(), late]
    assert diary.names(late) == {"x"}


def test_a_night_that_is_written_again_has_one_row(tmp_path):
    diary = Diary(tmp_path)
    diary.put(row(), seen("x"))
    diary.put(replace(row(), counts={"scored": 3}), seen("x", "y"))
    assert [one.counts for one in diary.rows()] == [{"scored": 3}]
    assert diary.names(row()) == {"x", "y"}


@pytest.mark.parametrize("line", ["", "{", "[]", '{"format": 2}', '{"format": 1, "night": "2026-01-02"}'])
def test_a_damaged_diary_is_refused_and_stays(tmp_path, line):
    diary = Diary(tmp_path)
    diary.put(row(), seen("x"))
    path = tmp_path / "diary.jsonl"
    path.write_text(path.read_text() + line + "\n")
    before = path.read_bytes()
    with pytest.raises(DiaryError, match="line 2: not a row"):
        diary.put(row("2026-01-05"), seen("y"))
    assert path.read_bytes() == before


def test_a_key_that_rows_do_not_have_is_refused(tmp_path):
    (tmp_path / "diary.jsonl").write_text(json.dumps({**json.loads(row().to_json()), "more": 1}) + "\n")
    with pytest.raises(DiaryError):
        Diary(tmp_path).rows()


def test_a_list_of_an_earlier_version_has_names_alone(tmp_path):
    diary = Diary(tmp_path)
    diary.put(row(), seen("x"))
    assert diary.seen(row()) == {"x": Seen("place of x", "scored")}
    (path,) = (tmp_path / ".scanshift" / "nights").iterdir()
    path.write_text('["x", "y"]')
    assert diary.names(row()) == {"x", "y"}
    assert diary.seen(row())["y"] == Seen("", "")


def test_a_lost_list_of_series_is_told(tmp_path):
    diary = Diary(tmp_path)
    diary.put(row(), seen("x"))
    next((tmp_path / ".scanshift" / "nights").iterdir()).unlink()
    with pytest.raises(DiaryError, match="gone or damaged"):
        new_refs(diary, [ref("a")], BUNDLE, "2026-01-03")


def test_what_an_earlier_night_has_is_not_new_and_another_bundle_starts_over(tmp_path):
    diary = Diary(tmp_path)
    diary.put(row(), seen(name_of(ref("a"))))
    both = [ref("a"), ref("b")]
    assert [one.content for one in new_refs(diary, both, BUNDLE, "2026-01-03").refs] == ["b"]
    assert new_refs(diary, both, "c" * 64, "2026-01-03").refs == tuple(both)


def test_the_same_night_again_has_its_own_series_and_those_that_came_since(tmp_path):
    diary = Diary(tmp_path)
    diary.put(row(), seen(name_of(ref("a"))))
    night = new_refs(diary, [ref("a")], BUNDLE, "2026-01-02")
    assert night.unchanged
    night = new_refs(diary, [ref("a"), ref("b")], BUNDLE, "2026-01-02")
    assert (len(night.refs), night.unchanged, night.since) == (2, False, "2026-01-02")


def test_a_late_run_writes_no_row_before_the_last_one(tmp_path):
    diary = Diary(tmp_path)
    diary.put(row("2026-01-05"), seen(name_of(ref("a"))))
    night = new_refs(diary, [ref("a")], BUNDLE, "2026-01-02")
    assert (night.date, night.unchanged) == ("2026-01-05", True)


def test_a_list_without_its_row_does_not_count(tmp_path):
    """As a kill between the two leaves it."""
    diary = Diary(tmp_path)
    diary.put(row(), seen(name_of(ref("a"))))
    (tmp_path / "diary.jsonl").unlink()
    assert len(new_refs(diary, [ref("a")], BUNDLE, "2026-01-03").refs) == 1


def test_nothing_found_is_nothing_new(tmp_path):
    assert new_refs(Diary(tmp_path), [], BUNDLE, "2026-01-03").unchanged


def test_a_date_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="2026-01-31 would be right"):
        new_refs(Diary(tmp_path), [], BUNDLE, "yesterday")


def test_what_failed_or_waits_is_settled_by_a_later_night():
    refs = [ref("a"), ref("b"), ref("c"), ref("", "ignored", source="notes.txt"), ref("d", "refused")]
    done = {"a": Outcome("scored", anomaly_score=0.5), "b": Outcome("failed", "UNREADABLE: away")}
    assert {one.source for one, _ in outcomes_of(refs, done).values()} == {"a", "notes.txt", "d"}


def test_names_tell_no_place_and_follow_the_content():
    assert name_of(ref("a", source="Mueller/1.dcm")) == name_of(ref("a", source="x.dcm")) == name_of_key("a")
    assert "Mueller" not in name_of(ref("", "ignored", source="Mueller/notes.txt"))
    assert name_of(ref("a", "refused")) != name_of(ref("a"))


def test_the_page_escapes_headers_and_draws_every_kind_of_night():
    field = "<script>alert(1)</script>"
    shift = {
        "tests": {"headers": 0.0},
        "fields": {field: 0.0},
        "kind": "both",
        "sentence": "They differ.",
        "auroc": 0.9,
    }
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "of": 60, "expected": 0.4}
    shares = {"abnormal": share, "referred": share, "refused": {"value": None, "low": None, "high": None, "of": 0}}
    quiet = row(shares=shares, shift={"reason": "12 new scans"})
    loud = row("2026-01-03", shares=shares, shift=shift, p=0.0, alpha=8e-5, look=1, alarm=True, proposals=("`do` it",))
    page = render([quiet, loud])
    assert field not in page
    assert "&lt;script&gt;" in page
    assert "&lt; 1e-12" in page
    assert "✕ Drift" in page
    assert "not tested: 12 new scans" in page
    assert page == render([quiet, loud])
    assert "Not tested" in render([quiet])
