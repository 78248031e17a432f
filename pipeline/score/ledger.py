"""The ledger of finished series: append-only JSON lines that survive a kill at any moment.

A chunk of series counts only when all its lines are there, so that a resumed run forms the same batches as an
undisturbed one and ends with the same bytes.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.score.ledger_line import Line, read_line
from pipeline.score.outcome import Outcome
from pipeline.workspace import whole_file

PRIVATE = 0o600
TAIL_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class Ledger:
    """Finished series of one state folder.

    Attributes:
        path: `ledger.jsonl`. Its lines hold content hashes and results, no path and no identity.
        part: Name of a part of one's own, for a writer on another machine: appends of several machines to one file
            of a network share would overwrite each other. All parts are read.
    """

    path: Path
    part: str = ""

    @property
    def own(self) -> Path:
        """The file that this one appends to."""
        return self._file(self.part)

    @property
    def parts(self) -> list[str]:
        """Names of all parts that are there; the empty one is the file at `path`."""
        found = sorted(self.path.parent.glob(f"{self.path.stem}-*{self.path.suffix}"))
        named = [path.stem.removeprefix(f"{self.path.stem}-") for path in found]
        return ["", *named] if self.path.exists() else named

    @property
    def size(self) -> int:
        """Length of `own` in bytes; what is written to it from now on begins there."""
        return self.own.stat().st_size if self.own.exists() else 0

    def _file(self, part: str) -> Path:
        return self.path.with_name(f"{self.path.stem}-{part}{self.path.suffix}") if part else self.path

    def done(self, run_key: str) -> dict[str, Outcome]:
        """Content hash to result, of every series finished under a key (bundle and settings).

        Lines that a kill tore or that were damaged, and chunks that are incomplete by that, do not count. A series
        that failed does not either: it is tried again.
        """
        found = self.results(run_key)
        for content in [content for content, outcome in found.items() if outcome.status == "failed"]:
            del found[content]
        return found

    def results(self, run_key: str, since: Mapping[str, int] | None = None) -> dict[str, Outcome]:
        """Content hash to result, as `done`, with those that failed.

        The last result counts, but a score stays, and what failed gives way to any other result of another part,
        since which of two parts is later is not known.

        Args:
            run_key: Of the bundle and settings.
            since: Parts to read, each with the byte where to begin, see `size`; by default all of all.
        """
        found: dict[str, tuple[Outcome, str]] = {}
        incomplete: dict[str, dict[str, Outcome]] = {}
        for part, line in self._lines(dict.fromkeys(self.parts, 0) if since is None else since):
            if line.run != run_key:
                continue
            chunk = incomplete.setdefault(line.chunk, {})
            chunk[line.content] = line.outcome
            if len(chunk) >= line.of:
                del incomplete[line.chunk]
                found |= {
                    content: (one, part) for content, one in chunk.items() if _counts(one, part, found.get(content))
                }
        return {content: outcome for content, (outcome, _) in found.items()}

    def begin(self, shard: Path) -> dict[str, int]:
        """Mark beside a shard's file where one's own part ends, the first time; nothing of the shard stands before.

        Returns:
            Every part that was marked so, with its mark: what was written of the shard, here or elsewhere, stands
            there. So a shard that is tried again goes on where it was, and none reads what all others wrote.
        """
        mark = shard.with_suffix(".began")
        own = mark.with_name(f"{mark.name}-{self.part}" if self.part else mark.name)
        if not own.exists():
            with whole_file(own, private=True, synced=bool(self.part)) as file:
                file.write(str(self.size))
        found = sorted(mark.parent.glob(f"{mark.name}*"))
        return {path.name.removeprefix(mark.name).removeprefix("-"): int(path.read_text()) for path in found}

    def engine(self, run_key: str) -> str:
        """What scored the last series finished under a key, in one's own part if there; empty where none is."""
        sizes = {
            part: self._file(part).stat().st_size for part in sorted(self.parts, key=lambda part: part != self.part)
        }
        for read in (TAIL_BYTES, max(sizes.values(), default=0)):  # the ends of all parts before all of any
            for part, size in sizes.items():
                engines = [line.engine for _, line in self._lines({part: max(0, size - read)}) if line.run == run_key]
                if engines:
                    return engines[-1]
        return ""

    def append(self, run_key: str, chunk: str, outcomes: Mapping[str, Outcome], engine: str = "") -> None:
        """Add the results of a chunk with one write, and wait until they are on disk.

        Args:
            run_key: Of the bundle and settings.
            chunk: Its name.
            outcomes: Content hash to result.
            engine: What ran the network.

        Raises:
            OSError: If they cannot be written, as on a full disk; what a write left behind does not count.
        """
        lines = (
            Line(run_key, chunk, len(outcomes), engine, content, outcome).to_text()
            for content, outcome in outcomes.items()
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._write("".join(lines).encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.own)) from error

    def _write(self, content: bytes) -> None:
        is_new = not self.own.exists()
        descriptor = os.open(self.own, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                content = b"\n" + content  # what a kill tore stays a line of its own
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            _sync_folder(self.path.parent)

    def _lines(self, since: Mapping[str, int]) -> Iterator[tuple[str, Line]]:
        for part, start in since.items():
            if not self._file(part).exists():
                continue
            with self._file(part).open("rb") as file:
                file.seek(start)
                for text in file:
                    line = read_line(text)
                    if line is not None:
                        yield part, line


def _counts(outcome: Outcome, part: str, before: tuple[Outcome, str] | None) -> bool:
    """Whether a result of a part replaces one that was read before it."""
    if before is None or before[0].status == "failed":
        return True
    return before[0].status != "scored" and (outcome.status != "failed" or before[1] == part)


def _sync_folder(folder: Path) -> None:
    """Wait until a new file's name is on disk, as its bytes are."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
