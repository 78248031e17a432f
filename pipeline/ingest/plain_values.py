"""Values of header elements that are spelt in the ordinary way."""

import math
import struct
from functools import lru_cache
from typing import Any

ESCAPE = b"\x1b"
TEXT_VRS = frozenset({b"CS", b"UI", b"LO", b"SH", b"AE", b"AS", b"PN"})
NUMBERS: dict[bytes, struct.Struct] = {
    b"US": struct.Struct("<H"),
    b"SS": struct.Struct("<h"),
    b"UL": struct.Struct("<L"),
    b"SL": struct.Struct("<l"),
    b"FD": struct.Struct("<d"),
    b"FL": struct.Struct("<f"),
}


class NotPlainError(Exception):
    """The header is not of the ordinary kind; pydicom reads it."""


@lru_cache(maxsize=4096)  # most values are the same in every slice of a series
def plain_value(vr: bytes, raw: bytes) -> Any:
    """The value of an element: None where it is empty, a list where it has several values.

    Raises:
        NotPlainError: If it is not spelt in the ordinary way, or of a kind that is not read here.
    """
    if not raw:
        return None
    if vr in NUMBERS:
        return _numbers(raw, NUMBERS[vr])
    if vr == b"PN" and b"=" in raw:  # several ways to write a name
        raise NotPlainError
    if vr in TEXT_VRS:
        return _one_or_list([_word(part) for part in plain_text(raw).split("\\")])
    if vr == b"DS":
        return _one_or_list([_decimal(part) for part in plain_text(raw).split("\\")])
    if vr == b"IS":
        return _one_or_list([_integer(part) for part in plain_text(raw).split("\\")])
    raise NotPlainError


def _numbers(raw: bytes, kind: struct.Struct) -> Any:
    if len(raw) % kind.size:
        raise NotPlainError
    return _one_or_list([number for (number,) in kind.iter_unpack(raw)])


def plain_text(raw: bytes) -> str:
    """Text without its padding; other characters than ASCII are for pydicom."""
    if not raw.isascii() or ESCAPE in raw:
        raise NotPlainError
    return raw.rstrip(b" \0").decode("ascii")


def _word(part: str) -> str:
    if part.strip() != part or "\0" in part:
        raise NotPlainError
    return part


def _decimal(part: str) -> float:
    try:
        number = float(part)
    except ValueError as error:
        raise NotPlainError from error
    if not math.isfinite(number) or "_" in part:
        raise NotPlainError
    return number


def _integer(part: str) -> int:
    digits = part.removeprefix("-")
    if not digits.isdigit() or str(int(part)) != part:
        raise NotPlainError
    return int(part)


def _one_or_list(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
