"""Writing the heat-maps of a bundle."""

from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.scan import SeriesRef
from pipeline.score.maps.draws import draw_of
from pipeline.score.maps.kinds import DicomMaps
from pipeline.score.maps.write import MapRow, MapWriter
from pipeline.score.origin import Origin
from pipeline.score.outcome import Outcome
from pipeline.score.scorer import Scorer


def write_heatmaps(
    scorer: Scorer,
    scored: Iterable[tuple[SeriesRef, Outcome]],
    out: Path,
    key: bytes,
    *,
    dicom: DicomMaps = "none",
    progress: Callable[[int], None] | None = None,
) -> list[MapRow]:
    """Write the heat-maps of scored series; see `MapWriter`."""
    writer = MapWriter(draw_of(scorer), scorer.record.preparation, out, Origin(scorer.digest, key), dicom)
    return writer.write(scored, progress)
