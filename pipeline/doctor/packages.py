"""Packages: what ScanShift needs, and what it was tested with."""

import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from pipeline.doctor.finding import Level, Told, check, some

PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
PINS = Path(__file__).resolve().parents[2] / "constraints.txt"  # in a checkout; an installed wheel has none


@check("packages")
def check_packages(needed: list[str] | None = None, pins: Path = PINS) -> Told:
    """Whether every package is there in a version that the code needs; others than those tested are a warning.

    Args:
        needed: Requirements as in pyproject.toml; those of the installed scanshift if not given.
        pins: File of `name==version` lines.
    """
    wanted = [Requirement(text) for text in (requires("scanshift") or [] if needed is None else needed)]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [told for one in wanted if (told := _unmet(one))]
    if wrong:
        return Level.BROKEN, f"{some(wrong)}; make test installs what is right", tuple(wrong)
    if not pins.is_file():
        return Level.OK, f"{len(wanted)} as needed (no constraints.txt here to compare with what was tested)"
    pinned = dict(PIN.findall(pins.read_text(encoding="utf-8")))
    other = [told for name, tested in pinned.items() if (told := _untested(name, tested))]
    if other:
        return Level.WARNING, f"other versions than those tested: {some(other)}", tuple(other)
    return Level.OK, f"{len(wanted)} as needed, {len(pinned)} pinned versions as tested"


def _unmet(wanted: Requirement) -> str:
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is not installed"
    if wanted.specifier.contains(found, prereleases=True):
        return ""
    return f"{wanted.name} {found}, needed {wanted.specifier}"


def _untested(name: str, tested: str) -> str:
    """Empty where the version is the one tested, apart from a local part such as +cpu, or the package is not here."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return ""
    same = Version(found) == Version(tested) or Version(found).public == tested
    return "" if same else f"{name} {found} (tested: {tested})"
