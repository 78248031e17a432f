"""A night as the flow takes its steps, without Prefect; the slow test runs it on Prefect's embedded server."""

import argparse
import contextlib
import csv
import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows import nightly, nightly_command, pull_recent
from flows.cli import build_parser
from flows.commands import score_request
from flows.nightly_words import drift_chart
from flows.pull_recent import fetch_recent, recent
from flows.request import Request
from flows.score import run_find, run_finish, run_shard
from flows.seal import SealedError, failure_logged, sealed
from pipeline.diary import proposals
from pipeline.diary.record import Diary, Row
from pipeline.errors import ConfigError, PacsError, SourceError
from pipeline.pacs.query import FoundSeries
from pipeline.watch import Watch


def asked(folder, bundle, out, **more):
    """The request of a night."""
    given = {"labels": None, "pull": "", "pull_days": 1, "pull_modality": "", "aet": "SCANSHIFT", "report_url": ""}
    given |= {"folder": folder, "bundle": bundle, "out": out, "workspace": None, "device": "cpu", "engine": "eager"}
    given |= {"dicom_results": False, "archives": False, "settle": 0.0, "night": "2026-01-01", **more}
    options = argparse.Namespace(**{"dask": "", "work_pool": "", "parts": 2, **given})
    return nightly_command.nightly_request(options, score_request(options))


def one_night(request, night="2026-01-01"):
    """The steps of the flow, in its order; None where nothing is new."""
    path = request.save()
    shards = run_find(path)
    if not nightly.run_new(path, night)["new"]:
        return None
    for shard in shards:
        run_shard(path, shard)
    run_finish(path)
    return nightly.run_diary(path, night, {})


def test_late_runs_are_done_once_and_one_broken_off_is_made_up(incoming, radiograph_bundle, tmp_path, one_thread):
    request = asked(incoming, radiograph_bundle, tmp_path / "out")
    path = request.save()
    for shard in run_find(path):
        run_shard(path, shard)  # and here the machine goes off
    row = one_night(request, "2026-01-02")
    assert row["counts"]["scored"] == 24
    assert one_night(request, "2026-01-02") is None
    assert one_night(request, "2026-01-01") is None
    assert [one.night for one in Diary(tmp_path / "out").rows()] == ["2026-01-02"]


def test_labels_that_arrive_without_scans_are_looked_at(incoming, radiograph_bundle, tmp_path, one_thread):
    assert one_night(asked(incoming, radiograph_bundle, tmp_path / "out"))
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        sources = [row["source"] for row in csv.DictReader(file) if row["status"] == "scored"]
    lines = [f"incoming/{source},{('normal', 'opacity')[n % 2]}" for n, source in enumerate(sources)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    assert one_night(asked(incoming, radiograph_bundle, tmp_path / "out", labels=tmp_path / "labels.csv")) is None
    assert Diary(tmp_path / "out").rows()[0].calibration["scans"] == 24
    assert "Once labels arrived" in (tmp_path / "out" / "diary.html").read_text()


@pytest.mark.parametrize(
    ("scheduled", "zone", "night"),
    [
        (datetime(2026, 1, 1, 23, 30, tzinfo=UTC), "Europe/Berlin", "2026-01-02"),
        (datetime(2026, 1, 1, 23, 30, tzinfo=UTC), "UTC", "2026-01-01"),
    ],
)
def test_a_night_is_the_date_of_its_schedule_where_it_is_scheduled(scheduled, zone, night):
    request = Request("nightly", "ws", "run", options={"timezone": zone})
    assert nightly.night_of(request, scheduled) == night
    assert nightly.night_of(Request("nightly", "ws", "run", options={"night": "2025-12-31"}), scheduled) == "2025-12-31"


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"labels": Path("gone.csv")}, SourceError, "no such file"),
        ({"night": "tonight"}, ConfigError, "a date such as"),
        ({"report_url": "file:///x"}, ConfigError, "http"),
        ({"pull": "ftp://pacs/x"}, ConfigError, "--pull: https"),
        ({"pull": "https://pacs:70000/x"}, ConfigError, "--pull: https"),
        ({"pull": "https://pacs:abc/x"}, ConfigError, "--pull: https"),
        ({"pull": "https://me:secret@pacs/x"}, ConfigError, "--pull: no name and password"),
    ],
)
def test_what_makes_no_sense_is_refused_before_work(incoming, radiograph_bundle, tmp_path, more, error, words):
    with pytest.raises(error, match=words):
        asked(incoming, radiograph_bundle, tmp_path / "out", **more)


def test_a_pull_asks_for_the_nights_date_and_the_days_before():
    query, left_out = recent("2026-03-01", 1, "CR")
    assert (query.dates, left_out) == ("20260228-20260301", "")


@pytest.mark.parametrize(
    ("last", "days", "since", "left_out"),
    [
        ("2026-02-28", 1, "20260227", ""),  # yesterday, and the days that it asked for
        ("2026-02-20", 1, "20260219", ""),
        ("2026-03-01", 1, "20260228", ""),
        ("2026-03-07", 1, "20260228", ""),  # a late run of an earlier date
        ("2026-01-30", 1, "20260129", ""),
        ("2026-01-29", 1, "20260129", "2026-01-28"),  # a month at most
        ("2026-02-01", 7, "20260129", "2026-01-25"),
        ("2026-01-20", 60, "20251231", "2025-11-21"),
    ],
)
def test_a_pull_goes_back_to_the_last_whole_one(last, days, since, left_out):
    query, told = recent("2026-03-01", days, "", last)
    assert (query.dates, told) == (f"{since}-20260301", left_out)


class Pacs:
    """A source that notes what it is asked for."""

    def __init__(self):
        self.asked, self.found, self.down = [], [], False

    def find(self, query):
        if self.down:
            raise PacsError("the PACS does not answer", again=False)
        self.asked.append(query.dates)
        return self.found

    def fetch(self, series, objects):
        raise PacsError("refused", again=False)


@pytest.fixture
def pacs(monkeypatch):
    source = Pacs()
    monkeypatch.setattr(pull_recent, "open_source", lambda *_, **__: contextlib.nullcontext(source))
    return source


def test_nights_that_fetched_less_than_all_are_made_up(pacs, tmp_path):
    notes = []

    def night(date, url="https://pacs/dicom-web"):
        pull = {"url": url, "days": 1, "modality": "CR", "aet": "SCANSHIFT"}
        return fetch_recent(pull, tmp_path / "incoming", date, Watch(note=notes.append))

    pacs.down = True
    for date in ("2026-03-01", "2026-03-02"):
        with pytest.raises(PacsError):
            night(date)
    pacs.down, pacs.found = False, [FoundSeries("1.2", "1.2.3", images=4)]
    with pytest.raises(PacsError, match="nothing could be fetched"):
        night("2026-03-05")
    pacs.found = []
    assert night("2026-03-06") == {"missing": 0}
    night("2026-03-07")
    assert not notes
    night("2026-03-07", url="https://another/dicom-web")
    assert pacs.asked == [
        "20260228-20260305",
        "20260228-20260306",
        "20260305-20260307",
        "20260306-20260307",
    ]
    kept = (tmp_path / "incoming" / ".scanshift" / "nights_pulled.json").read_text()
    assert "pacs" not in kept
    assert kept.count("2026-03-07") == 2
    night("2026-04-20")
    assert pacs.asked[-1] == "20260320-20260420"
    assert notes == ["fetched of 20260320-20260420 alone; for what is older: scanshift pull --since 2026-03-06"]


def test_a_pacs_that_cannot_be_reached_is_told_by_its_kind_and_in_the_log(
    incoming, radiograph_bundle, tmp_path, monkeypatch
):
    def unreachable(*_):
        raise SealedError("PacsError", PacsError("the PACS does not answer"))

    request = asked(incoming, radiograph_bundle, tmp_path / "out", pull="dicom://PACS@127.0.0.1:1")
    monkeypatch.setattr(nightly, "pull_task", unreachable)
    told, failed = nightly._pulled(request.save(), "2026-01-01")
    assert told == {"reason": "PacsError"}
    assert str(failed) == "PacsError"
    assert "the pull failed: the PACS does not answer" in (Path(request.run) / "log.txt").read_text()


def test_a_night_whose_pull_failed_and_that_finds_nothing_else_has_failed(
    incoming, radiograph_bundle, tmp_path, monkeypatch, one_thread
):
    request = asked(incoming, radiograph_bundle, tmp_path / "out", pull="dicom://PACS@127.0.0.1:1")
    assert one_night(request)

    def unreachable(*_):
        raise SealedError("PacsError", PacsError("the PACS does not answer"))

    monkeypatch.setattr(nightly, "pull_task", unreachable)
    monkeypatch.setattr(nightly, "find_task", sealed(run_find))
    monkeypatch.setattr(nightly, "new_task", sealed(nightly.run_new))
    with pytest.raises(SealedError, match="PacsError"):
        nightly.nightly_flow.fn(request.save())
    assert "failed: the PACS does not answer" in (Path(request.run) / "log.txt").read_text()
    monkeypatch.setattr(nightly, "pull_task", lambda *_: {"missing": 0})
    assert nightly.nightly_flow.fn(request.save()).message == "nothing new since 2026-01-01"


def test_a_night_whose_pull_failed_and_whose_scans_all_failed_has_failed(
    incoming, radiograph_bundle, tmp_path, monkeypatch
):
    request = asked(incoming, radiograph_bundle, tmp_path / "out", pull="dicom://PACS@127.0.0.1:1")
    failed = SealedError("PacsError", PacsError("the PACS does not answer"))
    monkeypatch.setattr(nightly, "_pulled", lambda *_: ({"reason": "PacsError"}, failed))
    for name, answer in {
        "find_task": ["shard"],
        "new_task": {"new": True},
        "finish_task": {"scores": "scores.csv", "notice": ""},
        "diary_task": {"proposals": [], "diary": ""},  # no row: nothing was settled
    }.items():
        monkeypatch.setattr(nightly, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(nightly, "score_shards", lambda *_: None)
    with pytest.raises(SealedError, match="PacsError"):
        nightly.nightly_flow.fn(request.save())


@pytest.mark.parametrize(
    ("error", "words"),
    [(SourceError("the share is gone"), "the share is gone"), (ValueError("/p/Mueller"), "ValueError")],
)
def test_why_a_run_failed_stands_in_its_log(tmp_path, error, words):
    path = Request("nightly", str(tmp_path), str(tmp_path)).save()
    with pytest.raises(SealedError), failure_logged(path):
        sealed(lambda: (_ for _ in ()).throw(error))()
    text = (tmp_path / "log.txt").read_text()
    assert text.endswith(f" failed: {words}\n")
    assert "Mueller" not in text


def test_what_is_proposed_can_be_typed():
    for text in (*proposals.KINDS.values(), proposals.THEN, proposals.LOOK_CLOSER):
        for command in re.findall(r"`scanshift ([^`]*)`", text):
            assert build_parser().parse_args(shlex.split(command))


def test_the_chart_for_the_ui_holds_dates_counts_and_figures():
    rows = [
        Row("2026-01-01", "b", {"scored": 9}, scores={"0.5": 0.0}),
        Row("2026-01-02", "b", {"scored": 60}, scores={"0.5": 1.0}, p=1e-9, alpha=8e-5, alarm=True, proposals=("do",)),
    ]
    text = drift_chart(rows)
    assert "`▁█`" in text
    assert "| 2026-01-02 | 60 | – | – | 1.0e-09 | 8.0e-05 | **drift** |" in text
    assert text.endswith("- do")


@pytest.mark.slow
def test_a_night_by_hand_through_prefect(terminal, incoming, radiograph_bundle, tmp_path):
    arguments = ["nightly", incoming, "--bundle", radiograph_bundle, "-o", tmp_path / "out", "--night", "2026-01-01"]
    told = terminal.run(*arguments, "--json")
    assert told.code == 0, told.error
    assert told.record["counts"]["scored"] == 24
    told = terminal.run(*arguments)
    assert told.code == 0, told.error
    assert told.out.splitlines()[-1] == "nothing new since 2026-01-01"
    assert len((tmp_path / "out" / "diary.jsonl").read_text().splitlines()) == 1
    assert json.loads((tmp_path / "out" / "diary.jsonl").read_text())["night"] == "2026-01-01"
