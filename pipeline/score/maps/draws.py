"""What draws the heat-maps of a bundle: Grad-CAM of a classifier, a detector's own maps."""

from torch import Tensor

from pipeline.detect.scan_detector import ScanDetector, raw_threshold
from pipeline.errors import MapError
from pipeline.score.maps.drawing import NO_MAP, Draw, FixedDraw
from pipeline.score.maps.grad_cam import GradCamDraw
from pipeline.score.scan_models import DetectorModel
from pipeline.score.scorer import Scorer


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
