"""Drift of header fields: exposure, age, scanner and whatever else a header tells about a scan."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.evaluate.multiplicity import holm
from pipeline.evaluate.predictions import Floats
from pipeline.shift.contingency import chi_squared_p
from pipeline.shift.domain import ABSENT, FEW_PATIENTS, OTHER, Domain, HeaderValue, one_scan_each
from pipeline.shift.kernel import PERMUTATIONS
from pipeline.shift.number import rounded
from pipeline.shift.two_sample import ALPHA, ks_p


@dataclass(frozen=True, slots=True)
class FieldSide:
    """One header field on one side; one scan of each patient counts.

    Attributes:
        patients: Patients of the side.
        missing: Patients without a value.
        quartiles: 25 %, 50 % and 75 % of the numbers; None for words, and for fewer than 5 patients.
        shares: Share of the patients with each word; None for numbers, and for fewer than 5 patients. Words that
            fewer than 5 patients of both sides together have stand under `(other)`: they could tell who it is.
    """

    patients: int
    missing: int
    quartiles: tuple[float, float, float] | None
    shares: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """How a header field differs between the sides.

    Attributes:
        field: Its name.
        kind: `number` or `category`.
        p_value: Of this field alone, or None.
        adjusted: The same after Holm's correction over all fields, or None.
        rejected: Whether the adjusted one is below 0.05.
        reason: Why there is none; else empty.
        reference, incoming: What the field holds on each side.
    """

    field: str
    kind: Literal["number", "category"]
    p_value: float | None
    adjusted: float | None
    rejected: bool
    reason: str
    reference: FieldSide
    incoming: FieldSide


def header_drift(
    reference: Domain, incoming: Domain, *, seed: int, permutations: int = PERMUTATIONS, untested: str = ""
) -> tuple[FieldDrift, ...]:
    """Every header field that both sides know, by name, with Holm's correction over those that could be tested.

    Numbers: Kolmogorov-Smirnov where present, and a permutation test of how often they are missing, times two where
    both were made. Words: permutation test of chi-squared, a missing value being a word of its own.

    Args:
        reference, incoming: Two sides.
        seed: Seed of the permutations, and of which scan of a patient counts.
        permutations: How many.
        untested: Why the fields are only described, if no test is to be made.

    Source:
        Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    rows = [one_scan_each(side.units, seed + offset) for offset, side in enumerate((reference, incoming))]
    found = []
    for name in sorted(set(reference.headers) & set(incoming.headers)):
        values = [
            [_clean(side.headers[name][row]) for row in chosen]
            for side, chosen in zip((reference, incoming), rows, strict=True)
        ]
        found.append(_one_field(name, values[0], values[1], seed=seed, permutations=permutations, reason=untested))
    adjusted = holm([field.p_value for field in found])
    return tuple(_adjust(field, p) for field, p in zip(found, adjusted, strict=True))


def _adjust(field: FieldDrift, adjusted: float | None) -> FieldDrift:
    rejected = adjusted is not None and adjusted < ALPHA
    return replace(field, adjusted=adjusted, rejected=rejected)


def _clean(value: HeaderValue) -> HeaderValue:
    """None for what says nothing: blank text and numbers that are not finite."""
    if isinstance(value, str):
        return value.strip() or None
    return None if value is None or not np.isfinite(value) else float(value)


def _one_field(
    name: str, first: list[HeaderValue], second: list[HeaderValue], *, seed: int, permutations: int, reason: str
) -> FieldDrift:
    numeric = not any(isinstance(value, str) for value in first + second)
    present = [sum(value is not None for value in values) for values in (first, second)]
    kind: Literal["number", "category"] = "number" if numeric else "category"
    sides = _number_sides(first, second) if numeric else _word_sides(first, second)
    p = None
    if not sum(present):
        reason = "no scan of either side has a value"
    elif min(len(first), len(second)) < FEW_PATIENTS:
        reason = f"fewer than {FEW_PATIENTS} patients on a side"
    elif not reason and numeric:
        p = _number_p(first, second, seed=seed, permutations=permutations)
    elif not reason:
        words = _merged(first, second)
        p = chi_squared_p(words, len(first), seed=seed, permutations=permutations)
    return FieldDrift(name, kind, p, None, False, reason, *sides)


def _number_p(first: list[HeaderValue], second: list[HeaderValue], *, seed: int, permutations: int) -> float:
    """KS of the values, and chi-squared of their absence, with Bonferroni's correction where both can be made."""
    found = []
    numbers = [_numbers(values) for values in (first, second)]
    if min(part.size for part in numbers) >= FEW_PATIENTS:
        found.append(ks_p(numbers[0], numbers[1])[1])
    if any(value is None for value in first + second):
        gone = [ABSENT if value is None else "present" for value in first + second]
        found.append(chi_squared_p(gone, len(first), seed=seed, permutations=permutations))
    return min(1.0, min(found) * len(found)) if found else 1.0


def _numbers(values: list[HeaderValue]) -> Floats:
    return np.array([value for value in values if isinstance(value, float)], dtype=np.float64)


def _number_sides(first: list[HeaderValue], second: list[HeaderValue]) -> tuple[FieldSide, FieldSide]:
    return _number_side(first), _number_side(second)


def _number_side(values: list[HeaderValue]) -> FieldSide:
    numbers = _numbers(values)
    quartiles = None
    if numbers.size >= FEW_PATIENTS:
        low, middle, high = (rounded(q) for q in np.quantile(numbers, [0.25, 0.5, 0.75]))
        quartiles = (low, middle, high)
    return FieldSide(len(values), len(values) - numbers.size, quartiles, None)


def _merged(first: list[HeaderValue], second: list[HeaderValue]) -> list[str]:
    """The words of both sides, rare ones merged."""
    words = [ABSENT if value is None else str(value) for value in first + second]
    often: Mapping[str, int] = Counter(words)
    return [word if word == ABSENT or often[word] >= FEW_PATIENTS else OTHER for word in words]


def _word_sides(first: list[HeaderValue], second: list[HeaderValue]) -> tuple[FieldSide, FieldSide]:
    words = _merged(first, second)
    return _word_side(words[: len(first)]), _word_side(words[len(first) :])


def _word_side(words: list[str]) -> FieldSide:
    shares = {word: rounded(count / len(words)) for word, count in sorted(Counter(words).items())}
    few = len(words) < FEW_PATIENTS
    return FieldSide(len(words), sum(word == ABSENT for word in words), None, None if few else shares)
