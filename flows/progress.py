"""Progress for people: a bar on a terminal, plain lines elsewhere; a total of 0 means that it is not known."""

import sys
import time
from pathlib import Path

from tqdm import tqdm

from pipeline.watch import Step, Watch

EVERY_SECONDS = 10.0


def make_watch(quiet: bool = False, *, run: Path | None = None) -> Watch:
    """A watch that writes to standard error, or a silent one.

    Args:
        quiet: Whether to be silent.
        run: Folder of a run, whose `log.txt` gets every note with its time.
    """
    if quiet:
        return Watch()
    bar = _bar if sys.stderr.isatty() else _lines
    if run is None:
        return Watch(note=_note, bar=bar)

    def note(text: str) -> None:
        _note(text)
        log_line(run, text)

    return Watch(note=note, bar=bar)


def log_line(run: Path, text: str) -> None:
    """Add a line with its time to the `log.txt` of a run's folder."""
    with (run / "log.txt").open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")


def _note(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


def _bar(title: str, total: int) -> Step:
    bar = tqdm(total=total or None, desc=title, unit="scan", leave=False, file=sys.stderr, dynamic_ncols=True)

    def step(steps: int) -> None:
        bar.update(steps)
        if total and bar.n >= total:
            bar.close()

    return step


def _lines(title: str, total: int) -> Step:
    start = said = time.monotonic()
    done = 0

    def step(steps: int) -> None:
        nonlocal done, said
        done += steps
        now = time.monotonic()
        if done - steps < total <= done:
            if now - start > 1:
                sys.stderr.write(f"{title}: {total} in {now - start:.0f} s\n")
        elif now - said > EVERY_SECONDS:
            said = now
            sys.stderr.write(f"{title}: {done} of {total}\n" if done <= total else f"{title}: {done}\n")

    return step
