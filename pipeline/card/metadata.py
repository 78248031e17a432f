"""MONAI's metadata of a bundle, and its inference configuration."""

from collections.abc import Mapping
from typing import Any

from pipeline.card.facts import CardFacts
from pipeline.card.statements import Statements
from pipeline.model_record import ModelRecord

RESEARCH_USE = "For research use only; not a medical device."
NOT_STATED = "not stated"
EVALUATED = "$@%"  # what MONAI's parser takes for an expression, a reference or a macro where a text begins with it


def metadata(record: ModelRecord, facts: CardFacts) -> dict[str, Any]:
    """MONAI's metadata; fields that only a person can fill come from the card's statements, or say `not stated`."""
    stated, versions = record.config.card, facts.versions
    number = len(facts.changes) + 1
    log = [f"adapted by ScanShift {versions['scanshift']}", *facts.changes]
    made = f"by {record.config.strategy}" if record.detector is None else f"as the detector {record.detector.name}"
    kind = "anomaly detection in" if record.detector else f"{record.task} classification of"
    texts = {
        "schema": "configs/schema.json",
        "version": f"0.{number}.0",
        "changelog": {f"0.{n}.0": line for n, line in enumerate(log, start=1)},
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"],
        "numpy_version": versions["numpy"],
        "required_packages_version": {"scanshift": versions["scanshift"], "torchvision": versions["torchvision"]},
        "task": f"{kind} {record.preparation.kind}s ({record.preparation.modality})",
        "description": f"{record.backbone} adapted {made}: {', '.join(record.classes)}",
        "authors": stated.authors or NOT_STATED,
        "copyright": stated.copyright or NOT_STATED,
        "intended_use": f"{RESEARCH_USE} {stated.intended_use or 'Intended use: not stated.'}",
        "data_source": stated.data_source or NOT_STATED,
        "data_type": record.preparation.kind,
        "references": _references(stated),
        "eval_metrics": eval_metrics(record, facts.metrics),
        "network_data_format": {"inputs": {"image": _image(record)}, "outputs": {"pred": _prediction(record)}},
    }
    return {key: _inert(value) for key, value in texts.items()}


def eval_metrics(record: ModelRecord, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The headline figures with intervals, and what they were measured on; null where there is none."""
    macro, decision = metrics["macro"], metrics["anomaly"]
    figures = {
        "macro_auroc": macro["auroc"],
        "sensitivity": decision["sensitivity"],
        "specificity": decision["specificity"],
    }
    flat = {f"{name}{end}": found[key] for name, found in figures.items() for end, key in ENDS.items()}
    return {"measured_on": record.measured_on, "scans": metrics["n"], "patients": metrics["n_patients"]} | flat


ENDS = {"": "value", "_low": "low", "_high": "high"}


def _references(stated: Statements) -> list[str]:
    return [line.strip() for line in stated.references.splitlines() if line.strip()]


def _image(record: ModelRecord) -> dict[str, Any]:
    size = record.preparation.image_size
    volume = record.preparation.kind == "volume"
    return {
        "type": "image",
        "format": "bag of slices" if volume else "one image",
        "modality": record.preparation.modality,
        "num_channels": 3,
        "spatial_shape": ["*", size, size] if volume else [size, size],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "red or grey", "1": "green or grey", "2": "blue or grey"},
    }


def _prediction(record: ModelRecord) -> dict[str, Any]:
    """Calibrated probabilities; of a detector a rank, which is none."""
    shared = {"spatial_shape": [1], "dtype": "float32", "value_range": [0, 1], "is_patch_data": False}
    if record.detector is not None:
        meaning = "anomaly score: the rank of the scan among held-out normal scans, not a probability"
        return {"type": "rank", "format": "anomaly score", "num_channels": 1, "channel_def": {"0": meaning}} | shared
    channels = {str(n): name for n, name in enumerate(record.classes)}
    each = "each by itself" if record.task == "multilabel" else "they add up to 1"
    return {
        "type": "probabilities",
        "format": f"classes, calibrated, {each}",
        "num_channels": len(channels),
        "channel_def": channels,
    } | shared


def _inert(value: Any) -> Any:
    """Values in which no text is an expression, a reference or a macro of MONAI's parser, which would be carried out.

    As in a CSV cell, an apostrophe goes before such a text.
    """
    if isinstance(value, str):
        return f"'{value}" if value[:1] and value[0] in EVALUATED else value
    if isinstance(value, dict):
        return {key: _inert(one) for key, one in value.items()}
    return [_inert(one) for one in value] if isinstance(value, list) else value


def inference(record: ModelRecord) -> dict[str, Any]:
    """What `python -m monai.bundle run` does: scores a folder; `network_def` is the network alone."""
    loader, network = ("load_classifier", "$load_classifier(@bundle, @record)")
    place = "pipeline.model_record"
    if record.detector is not None:
        loader, place = "load_detector", "pipeline.detect.scan_detector"
        network = "$load_detector(@bundle, @record, torch.device('cpu')).detector"
    return {
        "imports": [
            "$import torch",
            "$from pathlib import Path",
            "$from models.bundle import open_bundle",
            "$from pipeline.model_record import read_record",
            f"$from {place} import {loader}",
            "$from pipeline.score.folder import score_folder",
        ],
        "bundle_root": ".",
        "source": "incoming",
        "output_dir": "scores",
        "bundle": "$open_bundle(Path(@bundle_root))",
        "record": "$read_record(@bundle)",
        "network_def": network,
        "run": ["$print(score_folder(Path(@source), Path(@bundle_root), Path(@output_dir)))"],
    }
