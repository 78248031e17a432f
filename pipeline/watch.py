"""Where long work tells how far it is, without knowing who looks."""

from collections.abc import Callable
from dataclasses import dataclass

Step = Callable[[int], None]


def _silent_bar(_title: str, _total: int) -> Step:
    return lambda _steps: None


def _silent_note(_text: str) -> None:
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """How progress is told.

    Attributes:
        note: Takes a line of text, without identity.
        bar: Takes a title and a total; returns a function that takes steps.
    """

    note: Callable[[str], None] = _silent_note
    bar: Callable[[str, int], Step] = _silent_bar

    def count(self, title: str, total: int) -> Step:
        """A bar for work that reports the number done so far instead of steps."""
        step = self.bar(title, total)
        done = 0

        def reached(number: int) -> None:
            nonlocal done
            step(number - done)
            done = number

        return reached
