"""Reference statistics inside a bundle: enough to compare incoming scans with, without any scan or identity."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from pipeline.model_record import ModelRecord
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, targets
from pipeline.shift.acquisition import columns, header_values, without_rare
from pipeline.shift.domain import HeaderValue
from pipeline.shift.encoder import Encoder, Floats
from pipeline.shift.stored_reference import COMPONENTS, FORMAT, HEADERS, MOST, TENSORS
from pipeline.watch import Watch


def reference_statistics(
    classifier: SliceBagClassifier,
    store: SampleStore,
    held_out: Sequence[Case],
    trained: Sequence[Case],
    *,
    record: ModelRecord,
    device: torch.device,
    seed: int,
    logits: Floats | None = None,
    watch: Watch | None = None,
) -> tuple[dict[str, str], dict[str, dict[str, Tensor]]]:
    """What `write_bundle` adds to its texts and states so that the bundle can stand for its reference scans.

    The basis is fitted on training scans and the statistics are of held-out ones: scans that a basis was fitted on
    spread wider along it than new ones of the same hospital, and their logits are surer, which would pass for shift.

    Args:
        classifier: The adapted network.
        store: Holds the prepared scans of both.
        held_out: Cases that the weights were not fitted on, such as the validation rows; 500 at most are kept, with
            their labels where all of them have one.
        trained: Cases to fit the basis on; 500 at most are used.
        record: Of the bundle: classes, task, calibration, preparation.
        device: Where the network runs.
        seed: Of what is drawn and shuffled.
        logits: Of `held_out`, (n, L), not calibrated, from models that had not seen them, where the head did; those of
            the classifier if None.
        watch: Told of progress.
    """
    encoder = Encoder(
        classifier=classifier,
        preparation=record.preparation,
        device=device,
        name=record.backbone,
        weights="",
        classes=record.classes,
        task=record.task,
        temperature=record.temperature,
        bias=record.bias,
    )
    rng = np.random.default_rng(seed)
    step = (watch or Watch()).bar("reference statistics", min(len(held_out), MOST) + min(len(trained), MOST))
    drawn = rng.permutation(len(held_out))[:MOST].tolist()  # an order that says nothing of the original one
    kept = [held_out[n] for n in drawn]
    fitted = [trained[n] for n in rng.permutation(len(trained))[:MOST]]
    mean, basis = fit_basis(encoder.embed(store, [case.ref.key for case in fitted], step)[0])
    features, own = encoder.embed(store, [case.ref.key for case in kept], step)
    state = {
        "mean": mean,
        "basis": basis,
        "features": (features - mean) @ basis.T,
        "logits": own if logits is None else encoder.calibrated(logits[drawn]),
        "patients": _numbered([case.patient for case in kept], rng),
    }
    if all(case.labels for case in kept):
        state["truth"] = targets(kept, record.classes)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}
    text = json.dumps({"format": FORMAT, "fields": _unlinked(kept, rng)}, ensure_ascii=False) + "\n"
    return {HEADERS: text}, {TENSORS: tensors}


def fit_basis(features: Floats) -> tuple[Floats, Floats]:
    """Mean (F,) and at most 32 principal directions (K, F), widest first, their largest entry positive."""
    mean = features.mean(axis=0)
    _, _, directions = np.linalg.svd((features - mean).astype(np.float64), full_matrices=False)
    basis = directions[: max(1, min(COMPONENTS, len(features) - 1))]  # n scans span n - 1 directions
    signs = np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(axis=1)])
    return mean.astype(np.float32), (basis * signs[:, None]).astype(np.float32)


def _numbered(patients: Sequence[str], rng: np.random.Generator) -> Any:
    names = sorted(set(patients))
    number = dict(zip(names, rng.permutation(len(names)).tolist(), strict=True))
    return np.array([number[patient] for patient in patients], np.int64)


def _unlinked(cases: Sequence[Case], rng: np.random.Generator) -> dict[str, list[HeaderValue]]:
    """Each header field of the cases with patients exchanged at random, field by field.

    What several fields say together could point to a person; here no two fields of a row are one patient's. All scans
    of a patient get one value, so that drawing one scan of each patient still gives every patient's value once.
    """
    patients = [case.patient for case in cases]
    names = list(dict.fromkeys(patients))
    first = {name: patients.index(name) for name in names}
    table: dict[str, list[HeaderValue]] = {}
    for field, values in columns([header_values(case.ref) for case in cases]).items():
        shown = without_rare(values, patients)
        exchanged = {name: shown[first[names[n]]] for name, n in zip(names, rng.permutation(len(names)), strict=True)}
        table[field] = [exchanged[patient] for patient in patients]
    return table
