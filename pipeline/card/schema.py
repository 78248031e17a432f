"""The JSON schema of a bundle's metadata, which lies in the bundle, so that it is verified offline."""

from typing import Any

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
        "data_source": {"type": "string"},
        "data_type": {"type": "string"},
        "references": {"type": "array", "items": {"type": "string"}},
        "eval_metrics": {"type": "object", "additionalProperties": {"type": ["number", "string", "null"]}},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {"inputs": _ENTRIES, "outputs": _ENTRIES},
        },
    },
}
