"""Logits of labelled cases, and the table that evaluation starts from."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from pipeline.config import Task
from pipeline.evaluate.predictions import PredictionTable
from pipeline.evaluate.thresholds import threshold_at_sensitivity
from pipeline.learn.features import extract
from pipeline.learn.objective import anomaly_score, probabilities
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, targets
from pipeline.watch import Watch
from pipeline.workspace import pseudonym


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


def _groups(cases: Sequence[Case], most: int = 20) -> dict[str, tuple[str, ...]]:
    """Columns of labels.csv that divide the cases into 2 to `most` groups (`site` also when it is one).

    Values that stand for a single patient are put together as `(other)`: such a value may be a name, and reports
    show the names of groups.
    """
    names = dict.fromkeys(name for case in cases for name, _ in case.columns)
    table: dict[str, tuple[str, ...]] = {}
    for name in names:
        values = [dict(case.columns).get(name, "") or "(empty)" for case in cases]
        patients: dict[str, set[str]] = {}
        for value, case in zip(values, cases, strict=True):
            patients.setdefault(value, set()).add(case.patient)
        shown = tuple(value if len(patients[value]) > 1 else "(other)" for value in values)
        if 1 < len(set(shown)) <= most or (name == "site" and set(shown) != {"(empty)"}):
            table[name] = shown
    return table


def class_thresholds(table: PredictionTable, target: float) -> Mapping[str, float]:
    """Per class, the one-versus-rest threshold that finds the target share of its positives in this table."""
    return {
        name: threshold_at_sensitivity(table.probability[:, c], table.truth[:, c] == 1, target)
        for c, name in enumerate(table.classes)
    }
