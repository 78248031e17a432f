"""Whether files are still what they were when they were listed, told without reading them."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.scan import SeriesRef

NS = 10**9
AHEAD_SECONDS = 60  # that another machine's clock may be ahead; a file from further in the future is not waited for


def stamp_of(states: Iterable[tuple[int, int]]) -> str:
    """One short text for the sizes (bytes) and times of change (ns) of files in order."""
    text = "|".join(f"{size},{mtime_ns}" for size, mtime_ns in states)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changed(ref: SeriesRef) -> bool:
    """Whether a file of a series has another size or time than when it was listed, or is gone."""
    return bool(ref.stamp) and _stamp_now(ref.files) != ref.stamp


def _stamp_now(files: Sequence[str]) -> str:
    try:
        return stamp_of((state.st_size, state.st_mtime_ns) for state in map(os.stat, files))
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Settling:
    """How long a file must have lain still before it counts as arrived.

    Attributes:
        seconds: Since its last change; 0 for no wait.
        now_ns: The time, ns since 1970.
        own: A folder of this program's own, whose files are not waited for; empty for none.
    """

    seconds: float
    now_ns: int
    own: str = ""

    def arriving(self, ref: SeriesRef) -> bool:
        """Whether a file of a series has changed since it was listed, or within the last `seconds`.

        A file up to a minute ahead of this machine's clock was changed just now. Of a link, or a file that was never
        opened, nothing is known, and it is not waited for.
        """
        if not ref.stamp or (self.own and ref.files[0].startswith(self.own)):
            return False
        try:
            states = list(map(os.stat, ref.files))
        except OSError:  # gone, which reading it will tell
            return False
        if stamp_of((state.st_size, state.st_mtime_ns) for state in states) != ref.stamp:
            return True
        newest = max(state.st_mtime_ns for state in states)
        return self.seconds > 0 and self.now_ns - self.seconds * NS < newest < self.now_ns + AHEAD_SECONDS * NS
