"""What a bundle makes of a prepared scan: a classifier's probabilities, or how far a detector finds it from normal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.special import expit, logit
from torch import Tensor, nn

from models.bundle import Bundle
from models.classifier import SliceBagClassifier, pack
from pipeline.decide.conformal import ConformalScale, Floats
from pipeline.decide.prediction_sets import close_to_limit, undetermined
from pipeline.detect.scan_detector import ScanDetector, load_detector, raw_threshold, read_scale
from pipeline.detect.slices import Slices, in_batches
from pipeline.gate.gate import Gate, check_gate, gated, read_gate
from pipeline.learn.objective import anomaly_score, probabilities
from pipeline.model_record import ModelRecord, load_classifier
from pipeline.score.engines.engine import RowsModule
from pipeline.score.outcome import Outcome

CERTAIN = 1e-12


class ScanModel(Protocol):
    """Scores prepared scans; a scan's outcome depends on nothing but itself."""

    @property
    def record(self) -> ModelRecord:
        """What the bundle says of itself."""

    @property
    def network(self) -> nn.Module:
        """What is run over batches of slices (B, C, S, S) in [0, 1]: gives rows (B, K) by eager float32."""

    def rows(self, samples: Sequence[Slices]) -> list[Tensor]:
        """What the network says of each slice, (N, K) a scan, of samples (N, C, S, S) each, by eager float32."""

    def decide(self, rows: Tensor) -> Outcome:
        """The outcome of one scan from the rows (N, K) of its slices."""

    def near(self, rows: Tensor, tolerance: float) -> bool:
        """Whether scores that are off by up to `tolerance` could give one scan another outcome than another score.

        Also where a row is not finite, which no comparison tells.
        """

    def latent(self, rows: Tensor) -> Floats:
        """What calibrated scores are read off, (L,), where an engine's errors are alike for sure and unsure scans.

        Log-odds of the classes, or a detector's raw score.
        """

    def moved(self, rows: Tensor, reach: float) -> float:
        """How far a calibrated score of one scan moves at most when its latent numbers are off by up to `reach`."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierModel:
    """A classifier with its calibration and threshold."""

    record: ModelRecord
    classifier: SliceBagClassifier
    device: torch.device
    gate: Gate | None = None

    @property
    def network(self) -> nn.Module:
        """Backbone features (B, F), and the gate's stage means (B, C) behind them."""
        classifier = self.classifier
        run = gated(self.gate, classifier.backbone, classifier.features, classifier.features)
        return RowsModule(classifier, run)

    def rows(self, samples: Sequence[Slices]) -> list[Tensor]:
        """Rows (N, K) of prepared scans."""
        return in_batches(samples, self.network, self.device)

    def decide(self, rows: Tensor) -> Outcome:
        """Calibrated probabilities, and the decision at the bundle's threshold, or none where its set leaves it open.

        A scan of another kind is refused.
        """
        features, means = self._parted(rows)
        if refusal := self.gate.refusal(means) if self.gate else "":
            return Outcome("refused", refusal)
        probability = self._probability(features)
        score = float(anomaly_score(probability))
        outcome = Outcome(
            status="scored",
            probability=tuple(float(p) for p in probability),
            anomaly_score=score,
            decision="anomaly" if score >= self.record.anomaly_threshold else "normal",
        )
        sets = self.record.sets
        return outcome.referred("", undetermined(sets, probability[None].numpy())[0]) if sets else outcome

    def near(self, rows: Tensor, tolerance: float) -> bool:
        """Whether the gate's limit, the threshold, another most probable class or another set lies within reach."""
        if not torch.isfinite(rows).all():
            return True
        features, means = self._parted(rows)
        if self.gate and self.gate.near(means):
            return True
        probability = self._probability(features)
        first, second = probability.topk(2).values
        off = abs(float(anomaly_score(probability)) - self.record.anomaly_threshold)
        if off <= tolerance or float(first - second) <= 2 * tolerance:
            return True
        return self.record.sets is not None and close_to_limit(self.record.sets, probability.numpy(), tolerance)

    def latent(self, rows: Tensor) -> Floats:
        """Log-odds (L,) of the calibrated probabilities, which lie within 1e-12 of 0 and 1 at most."""
        probability = self._probability(self._parted(rows)[0]).numpy()
        return np.asarray(logit(probability.clip(CERTAIN, 1 - CERTAIN)))

    def moved(self, rows: Tensor, reach: float) -> float:
        """Largest |expit(z ± reach) - expit(z)| of the classes' log-odds z."""
        z = self.latent(rows)
        return float(np.abs(expit([z + reach, z - reach]) - expit(z)).max())

    def _parted(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        features, means = rows.tensor_split([self.classifier.backbone.num_features], dim=1)
        return features, means

    def _probability(self, features: Tensor) -> Tensor:
        """Calibrated probabilities (L,) of one scan."""
        record = self.record
        mask = torch.ones(1, len(features), dtype=torch.bool, device=self.device)
        with torch.inference_mode():
            logits = self.classifier.classify(pack(features.to(self.device), mask), mask).cpu().double()
        return probabilities(logits, record.task, record.temperature, record.bias)[0]


@dataclass(frozen=True, slots=True, eq=False)
class DetectorModel:
    """A detector with the scale of its held-out normals."""

    record: ModelRecord
    detector: ScanDetector
    scale: ConformalScale
    gate: Gate | None = None

    @property
    def network(self) -> nn.Module:
        """Scores of the slices (B, 1), and the gate's stage means (B, C) behind them."""
        inner = self.detector.detector
        run = gated(self.gate, inner.backbone, lambda images: inner.score(images).score[:, None], inner.pooled_first)
        return RowsModule(inner, run)

    def rows(self, samples: Sequence[Slices]) -> list[Tensor]:
        """Rows (N, K) of prepared scans."""
        return in_batches(samples, self.network, self.detector.device)

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

    def near(self, rows: Tensor, tolerance: float) -> bool:
        """Whether the gate's limit or the threshold lies within reach."""
        if not torch.isfinite(rows).all():
            return True
        rows, means = rows.tensor_split([1], dim=1)
        if self.gate and self.gate.near(means):
            return True
        score, cut = self.scale.score01([self.detector.scan_score(rows[:, 0]), raw_threshold(self.record)])
        return abs(float(score - cut)) <= tolerance

    def latent(self, rows: Tensor) -> Floats:
        """The raw score, (1,)."""
        return np.array([self.detector.scan_score(rows[:, 0])])

    def moved(self, rows: Tensor, reach: float) -> float:
        """Over how much of the held-out normals the raw score may wander, above it or below."""
        raw = self.detector.scan_score(rows[:, 0])
        below, here, above = self.scale.score01([raw - reach, raw, raw + reach])
        return float(max(above - here, here - below))


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
