"""The heat-maps of a bundle: Grad-CAM of a classifier, a detector's own maps."""

from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor

from pipeline.detect.scan_detector import ScanDetector, raw_threshold
from pipeline.errors import MapError
from pipeline.scan import SeriesRef
from pipeline.score.maps.drawing import Draw, FixedDraw
from pipeline.score.maps.grad_cam import GradCamDraw
from pipeline.score.maps.kinds import DicomMaps
from pipeline.score.maps.write import NO_MAP, MapRow, MapWriter
from pipeline.score.origin import Origin
from pipeline.score.outcome import Outcome
from pipeline.score.scan_models import DetectorModel
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


def draw_of(scorer: Scorer) -> Draw | None:
    """What draws the maps of a bundle; None of one whose detector looks at pooled features only."""
    if isinstance(scorer.model, DetectorModel):
        detector = scorer.model.detector.detector
        cut = raw_threshold(scorer.record) if detector.peaks else None
        source = _DetectorMaps(scorer.model.detector)
        return FixedDraw(source, scorer.record.classes[-1], cut) if detector.has_maps else None
    return GradCamDraw(scorer.classifier, scorer.record.classes, scorer.device)


class _DetectorMaps:
    """A detector as a source of maps."""

    def __init__(self, detector: ScanDetector) -> None:
        self.detector = detector

    def __call__(self, slices: Tensor) -> Tensor:
        """Maps (N, S, S) of slices (N, C, S, S) in [0, 1].

        Raises:
            MapError: If the detector gives none.
        """
        maps = self.detector.maps(slices)
        if maps is None:
            raise MapError(NO_MAP)
        return maps
