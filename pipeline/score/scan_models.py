"""What a bundle makes of a prepared scan: a classifier's probabilities, or how far a detector finds it from normal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.bundle import Bundle
from models.classifier import SliceBagClassifier, pack
from pipeline.decide.conformal import ConformalScale
from pipeline.decide.prediction_sets import undetermined
from pipeline.detect.scan_detector import ScanDetector, load_detector, raw_threshold, read_scale
from pipeline.detect.slices import Slices, in_batches
from pipeline.gate.gate import Gate, check_gate, gated, read_gate
from pipeline.learn.objective import anomaly_score, probabilities
from pipeline.model_record import ModelRecord, load_classifier
from pipeline.score.outcome import Outcome


class ScanModel(Protocol):
    """Scores prepared scans; a scan's outcome depends on nothing but itself."""

    @property
    def record(self) -> ModelRecord:
        """What the bundle says of itself."""

    def rows(self, samples: Sequence[Slices]) -> list[Tensor]:
        """What the network says of each slice, (N, K) a scan, of samples (N, C, S, S) each."""

    def decide(self, rows: Tensor) -> Outcome:
        """The outcome of one scan."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierModel:
    """A classifier with its calibration and threshold."""

    record: ModelRecord
    classifier: SliceBagClassifier
    device: torch.device
    gate: Gate | None = None

    def rows(self, samples: Sequence[Slices]) -> list[Tensor]:
        """Backbone features (N, F), and the gate's stage means (N, C) behind them."""
        features = self.classifier.features
        run = gated(self.gate, self.classifier.backbone, features, features)
        return in_batches(samples, run, self.device)

    def decide(self, rows: Tensor) -> Outcome:
        """Calibrated probabilities, and the decision at the bundle's threshold, or none where its set leaves it open.

        A scan of another kind is refused.
        """
        record = self.record
        rows, means = rows.tensor_split([self.classifier.backbone.num_features], dim=1)
        if refusal := self.gate.refusal(means) if self.gate else "":
            return Outcome("refused", refusal)
        mask = torch.ones(1, len(rows), dtype=torch.bool, device=self.device)
        with torch.inference_mode():
            logits = self.classifier.classify(pack(rows.to(self.device), mask), mask).cpu().double()
        probability = probabilities(logits, record.task, record.temperature, record.bias)[0]
        score = float(anomaly_score(probability))
        outcome = Outcome(
            status="scored",
            probability=tuple(float(p) for p in probability),
            anomaly_score=score,
            decision="anomaly" if score >= record.anomaly_threshold else "normal",
        )
        return outcome.referred("", undetermined(record.sets, probability[None].numpy())[0]) if record.sets else outcome


@dataclass(frozen=True, slots=True, eq=False)
class DetectorModel:
    """A detector with the scale of its held-out normals."""

    record: ModelRecord
    detector: ScanDetector
    scale: ConformalScale
    gate: Gate | None = None

    def rows(self, samples: Sequence[Slices]) -> list[Tensor]:
        """Scores of the slices (N, 1), and the gate's stage means (N, C) behind them."""
        inner = self.detector.detector
        run = gated(self.gate, inner.backbone, lambda images: inner.score(images).score[:, None], inner.pooled_first)
        return in_batches(samples, run, self.detector.device)

    def decide(self, rows: Tensor) -> Outcome:
        """The scan's place among held-out normals, and the policy's decision; a refusal of a scan of another kind."""
        rows, means = rows.tensor_split([1], dim=1)
        if refusal := self.gate.refusal(means) if self.gate else "":
            return Outcome("refused", refusal)
        raw = self.detector.scan_score(rows[:, 0])
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
    gate = read_gate(bundle, record.gate)
    if record.detector is not None:
        detector = load_detector(bundle, record, device)
        check_gate(bundle, gate, detector.detector.backbone)
        return DetectorModel(record, detector, read_scale(bundle, record), gate)
    classifier = load_classifier(bundle, record).to(device).to(memory_format=torch.channels_last)
    check_gate(bundle, gate, classifier.backbone)
    return ClassifierModel(record, classifier, device, gate)
