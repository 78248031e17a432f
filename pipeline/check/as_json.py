"""A check as plain values for JSON: numbers instead of names, unless names are asked for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pipeline.check.geometry_proof import GeometryProof
from pipeline.check.records import Check
from pipeline.check.remedies import remedy
from pipeline.check.row import SeriesCheck
from pipeline.check.shown import shown, shown_code, shown_reason

FORMAT = 1


def check_record(check: Check, *, names: bool = False) -> dict[str, Any]:
    """The whole check; documented in docs/reference/formats.md.

    Args:
        check: What was found.
        names: Whether `source` and `series_uid` stand beside each number: only for the user's own eyes.
    """
    overlap = check.overlap
    return {
        "format": FORMAT,
        "scanshift": check.version,
        "created": check.created,
        "counts": counts(check),
        "reasons": reasons(check.rows),
        "bundle": asdict(check.bundle) if check.bundle else None,
        "overlap": asdict(overlap) if overlap else None,
        "time": _timing(check),
        "syntaxes": [asdict(syntax) for syntax in check.syntaxes],
        "decoders": [asdict(decoder) for decoder in check.decoders],
        "series": [_series(row) | _names(row, names) for row in check.rows if row.belongs],
        "files": [_file(row) | _names(row, names) for row in check.rows if not row.belongs],
    }


def counts(check: Check) -> dict[str, int]:
    """How many rows are ok, refused and ignored."""
    return {status: len(check.of_status(status)) for status in ("ok", "refused", "ignored")}


def reasons(rows: Iterable[SeriesCheck]) -> dict[str, dict[str, Any]]:
    """Reason code to how many it refuses and how many are ignored for it, what would be right, and their numbers.

    The most frequent code comes first.
    """
    found: dict[str, list[SeriesCheck]] = defaultdict(list)
    for row in rows:
        if row.ref.reason:
            found[row.ref.reason.partition(":")[0]].append(row)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        code: {
            "refused": sum(row.ref.status == "refused" for row in members),
            "ignored": sum(row.ref.status == "ignored" for row in members),
            "right": remedy(code),
            "numbers": [row.number for row in members],
        }
        for code, members in ordered
    }


def _names(row: SeriesCheck, wanted: bool) -> dict[str, str]:
    return {"source": row.ref.source, "series_uid": row.ref.series_uid} if wanted else {}


def _file(row: SeriesCheck) -> dict[str, Any]:
    return {
        "number": row.number,
        "status": row.ref.status,
        "reason": shown_reason(row.ref),
        "right": remedy(row.ref.reason),
    }


def _series(row: SeriesCheck) -> dict[str, Any]:
    ref, measured = row.ref, row.measured
    return _file(row) | {
        "kind": ref.kind,
        "modality": shown_code(ref.modality),
        "format": ref.format,
        "images": ref.images,
        "files": len(ref.files),
        "shape": list(ref.shape),
        "split_by": list(row.split_by),
        "left_out": dict(row.left_out),
        "geometry": _geometry(row.geometry) if row.geometry else None,
        "chain": [asdict(step) for step in (*row.chain.steps, *row.preparation)],
        "possible": list(row.chain.possible) if row.chain.possible else None,
        "inverted": row.chain.inverted,
        "values": asdict(measured) if measured else None,
        "trained_on": _trained_on(row),
    }


def _geometry(proof: GeometryProof) -> dict[str, Any]:
    steps: Mapping[str, Any] = asdict(proof.steps) if proof.steps else {}
    return {
        "holds": proof.holds,
        "words": shown(proof.words),
        "slices": proof.slices,
        "spacing_mm": proof.spacing_mm,
        "axes": proof.axes,
        "handedness": proof.handedness,
        "tilt_degrees": proof.tilt_degrees,
        "affine": proof.affine,
        "steps_mm": {name: value for name, value in steps.items() if name != "positions"} or None,
    }


def _trained_on(row: SeriesCheck) -> str | None:
    """`patient`, `content`, `no`, or `unknown` where the series names no patient; None where nothing was compared."""
    if row.seen is None or row.ref.status != "ok":
        return None
    if row.seen.patient:
        return "patient"
    if row.seen.content:
        return "content"
    return "unknown" if row.seen.patient is None else "no"


def _timing(check: Check) -> dict[str, Any] | None:
    timing = check.timing
    if timing is None:
        return None
    return asdict(timing) | {"network_seconds": timing.network_seconds, "total_seconds": timing.total_seconds}
