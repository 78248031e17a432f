"""Looking for the shortcuts of a bundle on labelled scans that it has not seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.bundle import Bundle
from models.classifier import SliceBagClassifier
from pipeline.detect.slices import Slices
from pipeline.evaluate.predictions import Floats, Indices, PredictionTable
from pipeline.learn.ladder.problem import mean_features
from pipeline.model_record import ModelRecord
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.score.scan_models import ClassifierModel, DetectorModel, ScanModel, load_model
from pipeline.shortcuts.border import border_ablation
from pipeline.shortcuts.probe import ProbedScans, probe_column, probe_labels
from pipeline.shortcuts.wording import border_verdict, column_verdict
from pipeline.watch import Watch

MOST = 500


def find_shortcuts(
    bundle: Bundle,
    record: ModelRecord,
    store: SampleStore,
    cases: Sequence[Case],
    table: PredictionTable,
    *,
    device: torch.device,
    watch: Watch,
) -> dict[str, Any]:
    """Probe the columns of labels.csv and blank the border, on at most 500 scans drawn by the bundle's seed.

    Args:
        bundle, record: The model.
        store: Holds the prepared scans.
        cases: Labelled scans.
        table: What the model says of them, in the same order.
        device: Where the network runs.
        watch: Told of progress.

    Returns:
        The `shortcuts` of metrics.json.
    """
    seed = record.config.seed
    rows = np.sort(np.random.default_rng(seed).permutation(len(cases))[:MOST])
    contents = [cases[n].ref.key for n in rows]
    model = load_model(bundle, record.model_copy(update={"gate": None}), device)  # a blanked image is to be scored
    border = _border(model, store, contents, table, rows, seed, watch)
    scans = ProbedScans(
        *_features(model, store, contents, device, watch),
        targets=torch.from_numpy(table.truth[rows]).float(),
        normal=~table.abnormal[rows],
        patients=tuple(cases[n].patient for n in rows),
        seed=seed,
    )
    labels = probe_labels(scans)
    columns = {
        name: _judged(name, probe_column(scans, [values[n] for n in rows]), labels)
        for name, values in table.groups.items()
        if len(set(values)) > 1
    }
    found = [name for name, column in columns.items() if column["found"]] + ["border"] * border["found"]
    return {
        "n": len(rows),
        "n_patients": len(set(scans.patients)),
        "of": len(cases),
        "labels": labels,
        "columns": columns,
        "border": border,
        "found": found,
    }


def _judged(name: str, column: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    found, sentence = column_verdict(name, column, labels)
    return column | {"found": found, "verdict": sentence}


def _border(
    model: ScanModel,
    store: SampleStore,
    contents: Sequence[str],
    table: PredictionTable,
    rows: Indices,
    seed: int,
    watch: Watch,
) -> dict[str, Any]:
    detector = isinstance(model, DetectorModel)

    def score(samples: Sequence[Slices]) -> Floats:
        outcomes = [model.decide(found) for found in model.rows(samples)]
        if detector:
            return np.array([[outcome.anomaly_score] for outcome in outcomes], np.float64)
        return np.array([outcome.probability for outcome in outcomes], np.float64)

    columns = np.array(table.measured)
    intact = table.anomaly_score[rows, None] if detector else table.probability[np.ix_(rows, columns)]
    found = border_ablation(
        score,
        lambda n: store.load(contents[n]),
        intact,
        table.truth[np.ix_(rows, columns)] == 1,
        np.unique(table.patient_index[rows], return_inverse=True)[1].astype(np.intp),
        seed=seed,
        progress=watch.bar("scoring without border, and border alone", 2 * len(rows)),
    )
    judged, sentence = border_verdict(found)
    return found | {"found": judged, "verdict": sentence}


def _features(
    model: ScanModel, store: SampleStore, contents: Sequence[str], device: torch.device, watch: Watch
) -> tuple[Tensor, tuple[int, ...]]:
    """Mean features (n, F) of the model's own network, and the widths of its stages."""
    if isinstance(model, ClassifierModel):
        classifier = model.classifier
    elif isinstance(model, DetectorModel):
        backbone = model.detector.detector.backbone
        classifier = SliceBagClassifier(backbone, 2, pooling="mean")
    else:
        raise TypeError(f"no features of {type(model).__name__}")
    step = watch.bar("features", len(contents))
    return mean_features(classifier, store, contents, device, "float32", step), tuple(classifier.backbone.widths)
