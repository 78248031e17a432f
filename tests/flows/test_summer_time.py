from datetime import UTC, datetime

import pytest

from flows.summer_time import changing_hours, clock_warning

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("UTC", set()), ("Europe/Berlin", {2}), ("America/New_York", {1, 2}), ("Asia/Tokyo", set()), ("Mars/Base", set())],
)
def test_hours_that_the_clock_skips_or_repeats(zone, hours):
    assert changing_hours(zone, START) == hours


@pytest.mark.parametrize("cron", ["30 2 * * *", "0 1-3 * * 1-5", "0 */2 * * *", "0 22,2 * * *"])
def test_a_schedule_in_such_an_hour_is_warned_about(cron):
    assert "02:00 to 03:00" in clock_warning(cron, "Europe/Berlin")


@pytest.mark.parametrize("cron", ["0 4 * * *", "* * * * *", "15 */3 * * *", "0 3-23 * * *", "nonsense"])
def test_other_schedules_are_not(cron):
    assert clock_warning(cron, "Europe/Berlin") == ""
    assert clock_warning("30 2 * * *", "UTC") == ""
