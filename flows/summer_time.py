"""Schedules at hours that a change of the clock skips or repeats."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

STEP = timedelta(minutes=15)
YEAR = timedelta(days=366)


def clock_warning(cron: str, timezone: str) -> str:
    """Why a schedule's hour is a poor choice; empty where it is not, or where it runs every hour anyway."""
    hours = _hours(cron.split()[1:2])
    odd = sorted(hours & changing_hours(timezone))
    if not odd:
        return ""
    words = " and ".join(f"{hour:02d}:00 to {(hour + 1) % 24:02d}:00" for hour in odd)
    return f"the clocks of {timezone} skip or repeat {words} when summer time begins or ends; choose another hour"


def changing_hours(timezone: str, start: datetime | None = None) -> set[int]:
    """Hours of the day, by the wall clock, that are skipped or repeated in the year to come; empty for no such zone."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return set()
    found: set[int] = set()
    at = (start or datetime.now(UTC)).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    end = at + YEAR
    offset = zone.utcoffset(at.astimezone(zone)) or timedelta()
    while at < end:
        at += STEP
        now = at.astimezone(zone).utcoffset() or timedelta()
        if now != offset:
            wall = at.replace(tzinfo=None) + min(now, offset)
            until = at.replace(tzinfo=None) + max(now, offset)
            while wall < until:
                found.add(wall.hour)
                wall += STEP
            offset = now
    return found


def _hours(field: list[str]) -> set[int]:
    """Hours that a cron's hour field names; none for every hour."""
    hours: set[int] = set()
    for part in "".join(field).split(","):
        span, _, step = part.partition("/")
        low, _, high = ("0-23" if span == "*" else span).partition("-")
        if not low.isdigit() or not (high or low).isdigit() or not (step or "1").isdigit():
            return set()
        hours |= set(range(int(low), int(high or (23 if step else low)) + 1, int(step or 1) or 1))
    return set() if len(hours) == 24 else hours
