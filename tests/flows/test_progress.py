import io
import sys
import time

import pytest

from flows import progress


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_quiet_watch_says_nothing(capfd):
    watch = progress.make_watch(quiet=True)
    watch.note("x")
    watch.bar("scoring", 3)(3)
    assert capfd.readouterr() == ("", "")


def test_notes_go_to_standard_error(capfd):
    progress.make_watch().note("10 to score")
    assert capfd.readouterr() == ("", "10 to score\n")


def test_off_a_terminal_a_line_every_ten_seconds_and_one_at_the_end(capfd, clock):
    step = progress.make_watch().bar("scoring", 30)
    for second in (4, 9, 11, 15, 22, 23):
        clock[0] = second
        step(5)
    out, error = capfd.readouterr()
    assert out == ""
    assert error.splitlines() == ["scoring: 15 of 30", "scoring: 25 of 30", "scoring: 30 in 23 s"]


def test_quick_work_says_nothing(capfd, clock):
    step = progress.make_watch().bar("scoring", 2)
    clock[0] = 0.5
    step(2)
    assert capfd.readouterr() == ("", "")


def test_a_count_without_a_known_total_names_none(capfd, clock):
    reached = progress.make_watch().count("reading headers", 0)
    clock[0] = 11
    reached(700)
    clock[0] = 12
    reached(800)
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["reading headers: 700"]


def test_more_than_the_total_says_the_end_once(capfd, clock):
    step = progress.make_watch().bar("reading headers", 2)
    for second in (5, 6, 7, 8, 30):
        clock[0] = second
        step(1)
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["reading headers: 2 in 6 s", "reading headers: 5"]


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    step = progress.make_watch().bar("scoring", 2)
    step(1)
    step(1)
    assert "scoring" in screen.getvalue()
    assert "/2 [" in screen.getvalue()


def test_on_a_terminal_a_bar_without_a_known_total_stays_open(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    reached = progress.make_watch().count("reading headers", 0)
    reached(1)
    closed_at = len(screen.getvalue())
    time.sleep(0.11)  # tqdm draws ten times a second
    reached(41)
    assert "41scan" in screen.getvalue()[closed_at:].replace(" ", "")
