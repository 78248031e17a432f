"""The texts of a bundle besides its settings: MONAI's metadata, their schema, an inference config, the model card."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2

from pipeline.decide.card import decision_section
from pipeline.model_record import ModelRecord

RESEARCH_USE = "For research use only; not a medical device."


def bundle_texts(
    record: ModelRecord, metrics: Mapping[str, Any], notes: Sequence[str], versions: Mapping[str, str]
) -> dict[str, str]:
    """File name to text, for `models.bundle.write_bundle`."""
    return {
        "configs/metadata.json": _json(metadata(record, versions)),
        "configs/schema.json": _json(SCHEMA),
        "configs/inference.json": _json(INFERENCE),
        "docs/README.md": model_card(record, metrics, notes, versions),
    }


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def metadata(record: ModelRecord, versions: Mapping[str, str]) -> dict[str, Any]:
    """MONAI's metadata of a classifier bundle."""
    size = record.preparation.image_size
    grey = {"0": "red or grey", "1": "green or grey", "2": "blue or grey"}
    return {
        "schema": "configs/schema.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "adapted by ScanShift"},
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"],
        "numpy_version": versions["numpy"],
        "required_packages_version": {"scanshift": versions["scanshift"], "torchvision": versions["torchvision"]},
        "task": f"{record.task} classification of {record.preparation.kind}s ({record.preparation.modality})",
        "description": f"{record.backbone} adapted by {record.config.strategy}: {', '.join(record.classes)}",
        "authors": "not stated",
        "copyright": "not stated",
        "intended_use": RESEARCH_USE,
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "bag of slices",
                    "modality": record.preparation.modality,
                    "num_channels": 3,
                    "spatial_shape": [size, size],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": grey,
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "classes",
                    "num_channels": len(record.classes),
                    "spatial_shape": [1],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {str(n): name for n, name in enumerate(record.classes)},
                }
            },
        },
    }


def model_card(
    record: ModelRecord, metrics: Mapping[str, Any], notes: Sequence[str], versions: Mapping[str, str]
) -> str:
    """The model card in Markdown."""
    text = files("pipeline.learn").joinpath("templates/model_card.md").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["cell"] = _markdown_cell
    return environment.from_string(text).render(
        record=record,
        metrics=metrics,
        notes=notes,
        versions=versions,
        research_use=RESEARCH_USE,
        decision=decision_section(record),
    )


def _markdown_cell(text: object) -> str:
    """Text that came from a file, safe inside a Markdown table or list."""
    safe = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")
    return " ".join(safe.split())


_ENTRY: dict[str, Any] = {
    "type": "object",
    "required": [
        "type",
        "format",
        "num_channels",
        "spatial_shape",
        "dtype",
        "value_range",
        "is_patch_data",
        "channel_def",
    ],
    "properties": {
        "type": {"type": "string"},
        "format": {"type": "string"},
        "modality": {"type": "string"},
        "num_channels": {"type": "integer", "minimum": 1},
        "spatial_shape": {"type": "array", "items": {"type": ["integer", "string"]}},
        "dtype": {"type": "string"},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_ENTRIES = {"type": "object", "minProperties": 1, "additionalProperties": _ENTRY}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_MANDATORY_TEXTS = (
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "task",
    "description",
    "authors",
    "copyright",
)

SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "The fields that MONAI's bundle specification documents, for bundles written by ScanShift",
    "type": "object",
    "required": [*_MANDATORY_TEXTS, "required_packages_version", "network_data_format"],
    "properties": {
        "schema": {"type": "string"},
        **{name: {"type": "string", "minLength": 1} for name in _MANDATORY_TEXTS},
        "changelog": _TEXTS,
        "required_packages_version": _TEXTS,
        "intended_use": {"type": "string"},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {"inputs": _ENTRIES, "outputs": _ENTRIES},
        },
    },
}

INFERENCE: dict[str, Any] = {
    "imports": [
        "$from pathlib import Path",
        "$from models.bundle import open_bundle",
        "$from pipeline.model_record import load_classifier, read_record",
        "$from pipeline.score.folder import score_folder",
    ],
    "bundle_root": ".",
    "source": "incoming",
    "output_dir": "scores",
    "bundle": "$open_bundle(Path(@bundle_root))",
    "record": "$read_record(@bundle)",
    "network_def": "$load_classifier(@bundle, @record)",
    "run": ["$print(score_folder(Path(@source), Path(@bundle_root), Path(@output_dir)))"],
}
