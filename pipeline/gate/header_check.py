"""Comparing the header of a new scan with those of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import Reason
from pipeline.gate.body_parts import regions_of
from pipeline.gate.header_fields import AGE, BODY_PART, NUMBERS, WORDS, band_words, decade, stated
from pipeline.gate.header_record import HeaderRanges, NumberRange
from pipeline.scan import SeriesRef

SHOWN = 6


@dataclass(frozen=True, slots=True)
class HeaderVerdict:
    """What a header says for or against scoring a scan.

    Attributes:
        refusal: Why it is refused, with the code; empty where it is not.
        referral: What is unfamiliar, in words; empty where nothing is.
    """

    refusal: str = ""
    referral: str = ""


def check_headers(ref: SeriesRef, ranges: HeaderRanges | None) -> HeaderVerdict:
    """Compare the header of a series with the ranges of a bundle; one that states nothing is not held against it."""
    return HeaderVerdict() if ranges is None else judge_headers(stated(ref), ranges)


def judge_headers(row: Mapping[str, float | str], ranges: HeaderRanges) -> HeaderVerdict:
    """Compare what a header states with the ranges of a bundle.

    Refused is a body part whose regions are known and are none of training's. Everything else that training did not
    have refers: another word, or a number beyond its range by more than the field's slack.

    Args:
        row: Of `pipeline.gate.header_fields.stated`.
        ranges: Of the bundle.
    """
    part = str(row.get(BODY_PART, ""))
    if part and BODY_PART in ranges.words and _elsewhere(part, ranges.words[BODY_PART].words):
        known = listed(ranges.words[BODY_PART].words)
        return HeaderVerdict(f"{Reason.NOT_APPLICABLE}: the header names body part {part}; this bundle is for {known}")
    strange = [_age(row, ranges.age), *_numbers(row, ranges), *_words(row, ranges)]
    return HeaderVerdict(referral="; ".join(filter(None, strange)))


def _age(row: Mapping[str, float | str], known: NumberRange | None) -> str:
    if known is None or AGE not in row:
        return ""
    low = decade(str(row[AGE]))
    if known.low <= low <= known.high:
        return ""
    return f"age {band_words(low)}, trained on {known.low:g} to {known.high:g}"


def _numbers(row: Mapping[str, float | str], ranges: HeaderRanges) -> list[str]:
    found = []
    for name, known in ranges.numbers.items():
        quantity, value = NUMBERS.get(name), row.get(name)
        if quantity is None or not isinstance(value, float):
            continue
        if not known.low / quantity.slack <= value <= known.high * quantity.slack:
            span = f"{known.low:g}" if known.low == known.high else f"{known.low:g} to {known.high:g}"
            found.append(f"{quantity.name} {value:g} {quantity.unit}, trained on {span}")
    return found


def _words(row: Mapping[str, float | str], ranges: HeaderRanges) -> list[str]:
    found = []
    for name, known in ranges.words.items():
        word = str(row.get(name, ""))
        if not word or name not in WORDS or word in known.words:
            continue
        if name == BODY_PART and _within(word, known.words):
            continue
        found.append(f"{WORDS[name]} {word}, trained on {listed(known.words)}")
    return found


def _elsewhere(part: str, known: Sequence[str]) -> bool:
    """Whether a body part shares no region with any of training's, all of which are understood."""
    here, there = regions_of(part), [regions_of(word) for word in known]
    return part not in known and here is not None and all(one is not None and not here & one for one in there)


def _within(part: str, known: Sequence[str]) -> bool:
    """Whether a body part lies within one of training's, as LUNG within CHEST."""
    here = regions_of(part)
    return here is not None and any(here <= (regions_of(word) or frozenset()) for word in known)


def listed(words: Sequence[str]) -> str:
    """Words in a row, at most six."""
    shown = [*words[:SHOWN], *([f"{len(words) - SHOWN} more"] if len(words) > SHOWN else [])]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
