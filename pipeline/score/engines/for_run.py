"""The engine of a run over series that are not prepared yet."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.detect.slices import Slices
from pipeline.scan import SeriesRef
from pipeline.score.engines.choose import EngineRoom
from pipeline.score.engines.engine import Engine
from pipeline.score.scorer import Ready, Scorer, ready_scan


def choose_for(scorer: Scorer, refs: Sequence[SeriesRef], asked: str, cache: Path, *, kept: str, series: int) -> Engine:
    """The engine that scores these series; see `EngineRoom.choose`.

    Args:
        scorer: The bundle.
        refs: Series to score; the first readable ones are what an engine is sealed on.
        asked: The engine's name, or `auto`.
        cache: The workspace's.
        kept: What scored earlier series of the run, as the ledger has it.
        series: How many series the whole run has to score.

    Raises:
        EngineError: If an engine that was asked for by name cannot be used here.
    """

    def scans(most: int, slices: int) -> list[Slices]:
        found: list[Slices] = []
        for ref in refs:
            if len(found) == most or sum(map(len, found)) >= slices:
                break
            sample = ready_scan(ref, scorer.record)
            if isinstance(sample, Ready):
                found.append(sample.slices)
        return found

    room = EngineRoom(scorer.model, scorer.digest, cache, scorer.device)
    likely = scorer.record.preparation.slices if scorer.record.preparation.kind == "volume" else 1
    return room.choose(asked, kept=kept, scans=scans, slices=likely * series)
