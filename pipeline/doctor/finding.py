"""What a check found; a check that fails in a way that nobody foresaw is a finding too."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ParamSpec

P = ParamSpec("P")


class Level(StrEnum):
    """How bad it is: `broken` keeps a run from its result, `warning` may do so one day."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        level: How bad it is.
        name: Name of the check.
        words: What was found, and where something is wrong, what would be right.
        details: All items where `words` tells some.
    """

    level: Level
    name: str
    words: str
    details: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The finding as one line."""
        return f"{self.level:7s}  {self.name}: {' '.join(self.words.split())}"


Told = tuple[Level, str] | tuple[Level, str, tuple[str, ...]]


def check(name: str) -> Callable[[Callable[P, Told]], Callable[P, Finding]]:
    """Make a function a check: named, and never raising."""

    def named(look: Callable[P, Told]) -> Callable[P, Finding]:
        @functools.wraps(look)
        def checked(*args: P.args, **kwargs: P.kwargs) -> Finding:
            try:
                level, words, *details = look(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  one check that fails must not keep the others from being told
                return Finding(Level.BROKEN, name, f"{type(error).__name__}: {error}")
            return Finding(level, name, words, *details)

        return checked

    return named


def some(items: list[str], most: int = 4) -> str:
    """The first items of a list, and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")
