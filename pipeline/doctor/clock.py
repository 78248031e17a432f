"""The clock: time zone, steadiness, and whether file system and database tell the same time."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import sqlalchemy as sa

from pipeline.doctor.finding import Level, Told, check
from pipeline.ingest.catalog_server import open_engine, reached

WATCHED_SECONDS = 0.2
UNSTEADY_SECONDS = 0.05
SKEW_SECONDS = 2.0  # file systems such as FAT keep even seconds
WRONG_SECONDS = 60.0
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from.

    Attributes:
        wall: Seconds since 1970.
        steady: Seconds that only go forward.
        sleep: Waits for some seconds.
        zone: The variable TZ; None where it is not set.
        local: File with the machine's zone.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    zone: str | None = None
    local: Path = Path("/etc/localtime")


@check("clock")
def check_clock(folder: Path | None, catalog: str = "", clock: Clock | None = None) -> Told:
    """Whether schedules run when they should and times in records can be compared.

    Args:
        folder: Where runs write; a temporary folder if not given.
        catalog: URL of a catalogue on a server, whose clock is compared; empty for none.
        clock: Where time comes from, for tests.
    """
    clock = clock or Clock(zone=os.environ.get("TZ"))
    wrong, doubtful, zone = [], [], _zone(clock)
    if not zone:
        doubtful.append("no time zone is set, UTC is taken")
    elif zone.startswith("!"):
        wrong.append(f"time zone {zone[1:]} is not known")
    if "Europe/Berlin" not in available_timezones():
        wrong.append("time zone data is missing (the package tzdata brings it)")
    if (behind := Path(__file__).stat().st_mtime - clock.wall()) > DAY:
        wrong.append(f"the clock is {behind / DAY:.0f} days behind the date of ScanShift's own files")
    drift = _drift(clock)
    if abs(drift) > UNSTEADY_SECONDS:
        doubtful.append(f"the clock was set by {drift:+.2f} s within {WATCHED_SECONDS} s of looking")
    skews = {"file system": _file_skew(folder, clock)} | ({"database": _server_skew(catalog, clock)} if catalog else {})
    for name, skew in skews.items():
        if abs(skew) > SKEW_SECONDS:
            (wrong if abs(skew) > WRONG_SECONDS else doubtful).append(f"the {name} is {skew:+.1f} s off this machine")
    level = Level.BROKEN if wrong else Level.WARNING if doubtful else Level.OK
    if wrong or doubtful:
        return level, "; ".join([*wrong, *doubtful])
    return level, f"{zone}, steady; " + ", ".join(f"{name} {skew:+.1f} s" for name, skew in skews.items())


def _zone(clock: Clock) -> str:
    """Name of the time zone; empty where none is set; begins with `!` where it is not known."""
    if clock.zone:
        name = clock.zone.removeprefix(":")
        with contextlib.suppress(KeyError, ValueError, OSError):
            return str(ZoneInfo(name))
        return name if name.startswith("/") and Path(name).is_file() else f"!{name}"
    if clock.local.exists():
        path = clock.local.resolve().parts
        return "/".join(path[path.index("zoneinfo") + 1 :]) if "zoneinfo" in path else time.tzname[0]
    return ""


def _drift(clock: Clock) -> float:
    """By how much the wall clock went further than the steady one, in seconds."""
    steady, wall = clock.steady(), clock.wall()
    clock.sleep(WATCHED_SECONDS)
    return (clock.wall() - wall) - (clock.steady() - steady)


def _file_skew(folder: Path | None, clock: Clock) -> float:
    """Seconds by which the file system's clock is ahead."""
    with tempfile.NamedTemporaryFile(prefix=".doctor-", dir=folder) as file:
        file.write(b"x")
        file.flush()
        return Path(file.name).stat().st_mtime - clock.wall()


def _server_skew(url: str, clock: Clock) -> float:
    """Seconds by which the database server's clock is ahead; half the time of asking is taken off."""
    with _engine(url) as engine, reached(engine, "could not be asked for its time"), engine.connect() as connection:
        before = clock.wall()
        told = connection.scalar(sa.text("select extract(epoch from clock_timestamp())"))
        return float(told or 0.0) - (before + clock.wall()) / 2


@contextlib.contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()
