"""Logits of labelled cases, and the table that evaluation starts from."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from pipeline.config import Task
from pipeline.errors import CohortError
from pipeline.evaluate.group_columns import group_columns
from pipeline.evaluate.predictions import Flags, Floats, PredictionTable
from pipeline.learn.features import extract
from pipeline.learn.objective import anomaly_score, probabilities
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, targets
from pipeline.watch import Watch
from pipeline.workspace import pseudonym

ANOMALY = "anomaly"


def predict_logits(
    classifier: SliceBagClassifier,
    store: SampleStore,
    cases: Sequence[Case],
    *,
    device: torch.device,
    watch: Watch,
    title: str,
) -> Tensor:
    """Logits (n, L) of cases whose samples are in the store, float32 throughout, on the CPU."""
    contents = [case.ref.key for case in cases]
    bags = extract(classifier, store, contents, device=device, progress=watch.bar(title, len(contents)))
    with torch.inference_mode():
        logits = classifier.classify(bags.features.to(device), bags.mask.to(device))
    return logits.cpu()


def prediction_table(
    cases: Sequence[Case],
    logits: Tensor,
    *,
    classes: tuple[str, ...],
    task: Task,
    temperature: float,
    bias: Sequence[float] = (),
    key: bytes,
    random: Tensor | None = None,
    random_reason: str = "",
) -> PredictionTable:
    """Join labels and predictions; patients become pseudonyms under the workspace's key.

    Args:
        logits: (n, L) before calibration.
        random: Calibrated probabilities (n, L) of the head on random weights, if they could be made.
        random_reason: Why not, otherwise.
    """
    calibrated = probabilities(logits.double(), task, temperature, bias)
    return PredictionTable(
        classes=classes,
        task=task,
        truth=targets(cases, classes),
        probability=calibrated.numpy(),
        uncalibrated=probabilities(logits.double(), task).numpy(),
        anomaly_score=anomaly_score(calibrated).numpy(),
        patient=tuple(pseudonym(key, case.patient) for case in cases),
        groups=_groups(cases),
        random_probability=None if random is None else random.double().numpy(),
        random_reason=random_reason,
    )


class Scale(Protocol):
    """What turns a detector's raw scores into anomaly scores."""

    def score01(self, raw: Floats) -> Floats:
        """Raw scores (n,) to 0..1, strictly increasing."""


def detection_table(
    cases: Sequence[Case],
    raw: Floats,
    scale: Scale,
    called: Flags | None,
    key: bytes,
    *,
    normal: str,
) -> PredictionTable:
    """Join labels and what a detector says, for `one_class`; patients become pseudonyms under the workspace's key.

    Classes are the normal one and "anomaly", their columns 1 - anomaly score and anomaly score. The score is a rank
    among normals, so there is nothing to calibrate: `uncalibrated` is the same.

    Args:
        cases: Labelled cases; every label but `normal` counts as anomaly.
        raw: Raw scores, shape (n,); higher is less normal.
        scale: From raw to anomaly scores.
        called: What the policy decides, shape (n,), or None where it is a threshold on the anomaly score.
        normal: Name of the normal class.

    Raises:
        CohortError: If scores and cases do not fit together, or a score is not finite.
    """
    if raw.shape != (len(cases),) or not np.isfinite(raw).all():
        raise CohortError(f"raw scores: shape {raw.shape}, expected ({len(cases)},), all of them finite")
    score = np.asarray(scale.score01(raw), dtype=np.float64)
    abnormal = np.array([any(label != normal for label in case.labels) for case in cases])
    probability = np.stack([1 - score, score], axis=1)
    return PredictionTable(
        classes=(normal, ANOMALY),
        task="one_class",
        truth=np.stack([~abnormal, abnormal], axis=1).astype(np.int8),
        probability=probability,
        uncalibrated=probability,
        anomaly_score=score,
        patient=tuple(pseudonym(key, case.patient) for case in cases),
        groups=_groups(cases),
        random_reason="a detector is fitted on normals alone, there is no head to compare",
        labels=tuple("|".join(case.labels) for case in cases),
        called=called,
    )


def _groups(cases: Sequence[Case]) -> dict[str, tuple[str, ...]]:
    return group_columns([dict(case.columns) for case in cases], [case.patient for case in cases])
