"""Which columns of labels.csv divide the scans into groups, and how: by value, or a number in bands."""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite

import numpy as np

from pipeline.evaluate.predictions import Floats

MOST = 20  # groups of one column
AGES = (18, 40, 60, 80)  # years at which a band begins
FEW = 10  # numbers of so many different values stand as they are
BANDS = 4
NAMING = 10**6  # whole numbers above it are dates, or name something
OLDEST = 130  # years; beyond, a number is no age
EMPTY, OTHER, NO_AGE = "(empty)", "(other)", "(no age)"
AGE_STRING = re.compile(r"(\d{3})([DWMY])")  # DICOM PS3.5, value representation AS
PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}


def group_columns(rows: Sequence[Mapping[str, str]], patients: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Columns that divide the scans into 2 to 20 groups (`site` also when it is one).

    Ages, which are a column named `age` (or `patient_age`, `age_years`, ...) or one of DICOM age strings such as
    `045Y`, are put into bands: 0-17, 18-39, 40-59, 60-79 and 80+ years; what is no age is `(no age)`. Other numbers of
    more than 10 different values are put into four bands of about as many scans each, between quartiles rounded to two
    digits; whole numbers above a million are not, since they are dates or name something. Values, or bands, that
    stand for a single patient are put together as `(other)`: such a value may be a name, and reports show the names
    of groups.

    Args:
        rows: Further columns of each scan, as text.
        patients: Patient of each scan.

    Returns:
        Column to the group of each scan; an empty cell is `(empty)`.
    """
    table: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name, "").strip() or EMPTY for row in rows]
        shown = _without_single_patients(_banded(name, values), patients)
        if 1 < len(set(shown)) <= MOST or (name == "site" and set(shown) != {EMPTY}):
            table[name] = shown
    return table


def _banded(name: str, values: Sequence[str]) -> Sequence[str]:
    """The values, or the bands they lie in where they are ages or other numbers of many values."""
    filled = [value for value in values if value != EMPTY]
    if _named_age(name) or (filled and all(map(AGE_STRING.fullmatch, filled))):
        return [value if value == EMPTY else _age_band(value) for value in values]
    numbers = np.array([number for number in map(_number, filled) if number is not None])
    distinct = np.unique(numbers)
    if numbers.size < len(filled) or distinct.size <= FEW:
        return values
    if (distinct == np.floor(distinct)).all() and np.abs(distinct).max() > NAMING:
        return values
    bands = iter(_quartile_bands(numbers))
    return [value if value == EMPTY else next(bands) for value in values]


def _named_age(name: str) -> bool:
    """Whether one of the words of a column's name, `patient_age` or `PatientAge`, is age."""
    return "age" in re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _number(text: str) -> float | None:
    """A finite number, or None; a comma may stand for the decimal point."""
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if isfinite(number) else None


def _age_band(text: str) -> str:
    """The band of an age in years or of a DICOM age string."""
    found = AGE_STRING.fullmatch(text)
    years = int(found[1]) / PER_YEAR[found[2]] if found else _number(text)
    if years is None or not 0 <= years <= OLDEST:
        return NO_AGE
    band = bisect_right(AGES, years)
    low = AGES[band - 1] if band else 0
    return f"{low}-{AGES[band] - 1}" if band < len(AGES) else f"{low}+"


def _quartile_bands(numbers: Floats) -> list[str]:
    """In which of up to four bands each number lies; edges have two digits, so that they show nobody's own number."""
    quartiles = np.quantile(numbers, np.arange(1, BANDS) / BANDS)
    edges = sorted(
        {float(f"{edge:.2g}") for edge in quartiles if numbers.min() < float(f"{edge:.2g}") <= numbers.max()}
    )
    if not edges:
        return [OTHER] * numbers.size
    shown = [f"{edge:.15g}" for edge in edges]
    middle = [f"{low} to below {high}" for low, high in pairwise(shown)]
    names = [f"below {shown[0]}", *middle, f"{shown[-1]} and above"]
    return [names[band] for band in np.searchsorted(edges, numbers, side="right")]


def _without_single_patients(values: Sequence[str], patients: Sequence[str]) -> tuple[str, ...]:
    people: dict[str, set[str]] = {}
    for value, patient in zip(values, patients, strict=True):
        people.setdefault(value, set()).add(patient)
    return tuple(value if len(people[value]) > 1 else OTHER for value in values)
