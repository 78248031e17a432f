"""Dates and times: checked, and set back by a number of days."""

import datetime
import re

DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d|60)?(\.\d{1,6})?)?")
DATE_TIME = re.compile(r"(\d{8})(.*?)([+-]\d{4})?")


def shift(vr: str, text: str, days: int) -> str:
    """A date (DA), date and time (DT) or time (TM), `days` days earlier; times of day stay as they are.

    Returns:
        The value, without its offset from UTC; empty if it is no valid date or time, or only a part of a date.
    """
    plain = text.strip(" \0")
    if vr == "TM":
        return plain if TIME.fullmatch(plain) else ""
    if vr == "DA":
        return _earlier(plain, days)
    parts = DATE_TIME.fullmatch(plain)
    if parts is None or (parts[2] and not TIME.fullmatch(parts[2])):
        return ""
    date = _earlier(parts[1], days)
    return date + parts[2] if date else ""


def _earlier(text: str, days: int) -> str:
    parts = DATE.fullmatch(text)
    if parts is None:
        return ""
    try:
        date = datetime.date(int(parts[1]), int(parts[2]), int(parts[3])) - datetime.timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{date.year:04d}{date.month:02d}{date.day:02d}"
