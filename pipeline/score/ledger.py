"""The ledger of finished series: append-only JSON lines that survive a kill at any moment.

A chunk of series counts only when all its lines are there, so that a resumed run forms the same batches as an
undisturbed one and ends with the same bytes.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.score.outcome import Outcome

PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Ledger:
    """Finished series of one state folder.

    Attributes:
        path: `ledger.jsonl`. Its lines hold content hashes and results, no path and no identity.
    """

    path: Path

    def done(self, run_key: str) -> dict[str, Outcome]:
        """Content hash to result, of every series finished under a key (bundle and settings).

        Lines that a kill tore, and chunks that it left incomplete, do not count. A series that failed does not
        either: it is tried again.
        """
        chunks: dict[str, list[dict[str, Any]]] = {}
        for record in self._lines():
            if record["run"] == run_key:
                chunks.setdefault(record["chunk"], []).append(record)
        found: dict[str, Outcome] = {}
        for lines in chunks.values():
            if len({line["content"] for line in lines}) < lines[0]["of"]:
                continue
            for line in lines:
                outcome = Outcome.from_record(line)
                if outcome.status != "failed":
                    found[line["content"]] = outcome
        return found

    def engine(self, run_key: str) -> str:
        """What scored the last series finished under a key; empty where none is."""
        engine = ""
        for record in self._lines():
            if record["run"] == run_key:
                engine = str(record.get("engine", ""))
        return engine

    def append(self, run_key: str, chunk: str, outcomes: Mapping[str, Outcome], engine: str = "") -> None:
        """Add the results of a chunk with one write, and wait until they are on disk.

        Args:
            run_key: Of the bundle and settings.
            chunk: Its name.
            outcomes: Content hash to result.
            engine: What ran the network.
        """
        about = {"run": run_key, "chunk": chunk, "of": len(outcomes), "engine": engine}
        text = "".join(
            json.dumps({**about, "content": content, **outcome.to_record()}) + "\n"
            for content, outcome in outcomes.items()
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE)
        with os.fdopen(descriptor, "r+b") as file:
            if file.seek(0, os.SEEK_END) and _last_byte(file.fileno()) != b"\n":
                text = "\n" + text
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict) and record.keys() >= {"run", "chunk", "of", "content", "status"}:
                    yield record


def _last_byte(descriptor: int) -> bytes:
    return os.pread(descriptor, 1, os.fstat(descriptor).st_size - 1)
