"""What a bundle makes of a prepared scan: a classifier's probabilities, or how far a detector finds it from normal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.bundle import Bundle
from models.classifier import SliceBagClassifier, pack
from pipeline.decide.conformal import ConformalScale
from pipeline.detect.scan_detector import ScanDetector, load_detector, raw_threshold, read_scale
from pipeline.detect.slices import Slices, in_batches
from pipeline.learn.objective import anomaly_score, probabilities
from pipeline.model_record import ModelRecord, load_classifier
from pipeline.score.outcome import Outcome


class ScanModel(Protocol):
    """Scores prepared scans; a scan's outcome depends on nothing but itself."""

    @property
    def record(self) -> ModelRecord:
        """What the bundle says of itself."""

    def rows(self, samples: Sequence[Slices]) -> list[Tensor]:
        """What the network says of each slice, (N, ...) a scan, of samples (N, C, S, S) each."""

    def decide(self, rows: Tensor) -> Outcome:
        """The outcome of one scan."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierModel:
    """A classifier with its calibration and threshold."""

    record: ModelRecord
    classifier: SliceBagClassifier
    device: torch.device

    def rows(self, samples: Sequence[Slices]) -> list[Tensor]:
        """Backbone features (N, F)."""
        return in_batches(samples, self.classifier.features, self.device)

    def decide(self, rows: Tensor) -> Outcome:
        """Calibrated probabilities of features (N, F), and the decision at the bundle's threshold."""
        record = self.record
        mask = torch.ones(1, len(rows), dtype=torch.bool, device=self.device)
        with torch.inference_mode():
            logits = self.classifier.classify(pack(rows.to(self.device), mask), mask).cpu().double()
        probability = probabilities(logits, record.task, record.temperature, record.bias)[0]
        score = float(anomaly_score(probability))
        return Outcome(
            status="scored",
            probability=tuple(float(p) for p in probability),
            anomaly_score=score,
            decision="anomaly" if score >= record.anomaly_threshold else "normal",
        )


@dataclass(frozen=True, slots=True, eq=False)
class DetectorModel:
    """A detector with the scale of its held-out normals."""

    record: ModelRecord
    detector: ScanDetector
    scale: ConformalScale

    def rows(self, samples: Sequence[Slices]) -> list[Tensor]:
        """Scores (N,) of the slices."""
        return self.detector.slice_scores(samples)

    def decide(self, rows: Tensor) -> Outcome:
        """The scan's place among held-out normals, and the decision of the bundle's policy."""
        raw = self.detector.scan_score(rows)
        score = float(self.scale.score01(raw))
        return Outcome(
            status="scored",
            probability=(1 - score, score),
            anomaly_score=score,
            decision="anomaly" if raw >= raw_threshold(self.record) else "normal",
        )


def load_model(bundle: Bundle, record: ModelRecord, device: torch.device) -> ScanModel:
    """What the bundle holds, on a device.

    Raises:
        BundleError: If its tensors do not fit what it says.
    """
    if record.detector is not None:
        return DetectorModel(record, load_detector(bundle, record, device), read_scale(bundle, record))
    classifier = load_classifier(bundle, record).to(device).to(memory_format=torch.channels_last)
    return ClassifierModel(record, classifier, device)
