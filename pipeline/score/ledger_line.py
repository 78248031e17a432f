"""One line of the ledger: a result with what it belongs to, and a checksum against damage."""

import json
import math
import zlib
from dataclasses import dataclass
from typing import Any, get_args

from pipeline.score.outcome import Decision, Outcome, ScoreStatus

CHECK = ', "crc": '
KEYS = frozenset(
    {"run", "chunk", "of", "engine", "content", "status", "reason"}
    | {"probability", "anomaly_score", "decision", "copy", "called"}
)
TEXTS = ("run", "chunk", "content", "reason")


@dataclass(frozen=True, slots=True)
class Line:
    """A finished series.

    Attributes:
        run: Key of bundle and settings.
        chunk: Name of the chunk that it was scored in.
        of: Series in that chunk.
        engine: What ran the network; empty in ledgers from before there were engines.
        content: Hash of the series' content.
        outcome: The result.
    """

    run: str
    chunk: str
    of: int
    engine: str
    content: str
    outcome: Outcome

    def to_text(self) -> str:
        """A JSON object on a line; `crc` is the CRC-32 of all before it."""
        about = {"run": self.run, "chunk": self.chunk, "of": self.of, "engine": self.engine, "content": self.content}
        text = json.dumps(about | self.outcome.to_record())[:-1]
        return f"{text}{CHECK}{zlib.crc32(text.encode())}}}\n"


def read_line(text: bytes) -> Line | None:
    """The line that `to_text` gave; None where it is torn, altered or something else.

    Lines without a checksum, from before there was one, count where they are whole.
    """
    head, check, crc = text.rstrip(b"\n").rpartition(CHECK.encode())
    if check and crc != f"{zlib.crc32(head)}}}".encode():
        return None
    try:
        record = json.loads(head + b"}" if check else text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not record.keys() <= KEYS or not _is_sound(record):
        return None
    outcome = Outcome.from_record(record)
    return Line(record["run"], record["chunk"], record["of"], str(record.get("engine", "")), record["content"], outcome)


def _is_sound(record: dict[str, Any]) -> bool:
    """Whether every field has a value that it can have."""
    values = record.get("probability")
    score = record.get("anomaly_score")
    numbers = [*values, *([] if score is None else [score])] if isinstance(values, list) else [None]
    return (
        all(isinstance(record.get(name), str) for name in TEXTS)
        and type(record.get("of")) is int
        and record["of"] > 0
        and record.get("status") in get_args(ScoreStatus)
        and record.get("decision") in get_args(Decision)
        and record.get("called", "") in get_args(Decision)
        and all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
        and (record["status"] != "scored" or (bool(values) and score is not None))
    )
