"""A night as the flow takes its steps, without Prefect; the slow test runs it on Prefect's embedded server."""

import argparse
import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows import nightly, nightly_command
from flows.commands import score_request
from flows.nightly_words import drift_chart
from flows.pull_recent import recent
from flows.request import Request
from flows.score import run_find, run_finish, run_shard
from flows.seal import SealedError
from pipeline.diary.record import Diary, Row
from pipeline.errors import ConfigError, SourceError


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
    ],
)
def test_what_makes_no_sense_is_refused_before_work(incoming, radiograph_bundle, tmp_path, more, error, words):
    with pytest.raises(error, match=words):
        asked(incoming, radiograph_bundle, tmp_path / "out", **more)


def test_a_pull_asks_for_the_nights_date_and_the_days_before():
    assert recent("2026-03-01", 1, "CR").dates == "20260228-20260301"


def test_a_pacs_that_cannot_be_reached_is_told_by_its_kind_alone(incoming, radiograph_bundle, tmp_path, monkeypatch):
    def unreachable(*_):
        raise SealedError("PacsError")

    monkeypatch.setattr(nightly, "pull_task", unreachable)
    assert nightly._pulled("request.json", "2026-01-01") == {"reason": "PacsError"}


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
