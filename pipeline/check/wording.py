"""What a check found, in sentences: for the terminal and for the page alike."""

from collections.abc import Sequence

from pipeline.check.geometry_proof import GeometryProof, Steps
from pipeline.check.records import Check
from pipeline.check.row import SeriesCheck
from pipeline.check.shown import shown, shown_code

Line = tuple[str, str]  # what it is about, and the words
LEFT_OUT = {"DUPLICATE_FILE": "copies", "LOCALIZER": "localizers"}


def title(row: SeriesCheck) -> str:
    """A series in a few words, such as `volume CT, 300 images, 512x512x300, 0.7 x 0.7 x 1.25 mm`."""
    ref = row.ref
    words = [f"{ref.kind} {shown_code(ref.modality)}", f"{ref.images} image{'s' * (ref.images != 1)}"]
    if ref.shape:
        words.append("x".join(str(size) for size in ref.shape))
    spacing = row.geometry.spacing_mm if row.geometry else None
    if spacing:
        words.append(" x ".join(f"{step:.4g}" for step in spacing) + " mm")
    return ", ".join(words)


def note(row: SeriesCheck) -> str:
    """What is worth a look in one or two words: the reason code, or that it was in training; else empty."""
    if row.ref.reason:
        return row.ref.reason.partition(":")[0]
    return "in training" if row.trained_on else ""


def grouping_lines(row: SeriesCheck) -> list[Line]:
    """Why it is a series of its own, and what of it is not read."""
    lines = []
    if row.split_by:
        lines.append(("split by", "; ".join(row.split_by)))
    if row.left_out:
        words = ", ".join(f"{count} {LEFT_OUT.get(code, code)}" for code, count in row.left_out)
        lines.append(("left out", words))
    return lines


def geometry_lines(row: SeriesCheck) -> list[Line]:
    """The geometry proof."""
    proof = row.geometry
    if proof is None:
        return [("geometry", "none: images of this kind lie nowhere in the patient")] if row.chain.steps else []
    lines = [("geometry", f"{'proved' if proof.holds else 'not proved'}: {shown(proof.words)}")]
    if proof.steps:
        lines.append(("steps", _step_words(proof.steps, proof.slices)))
    if proof.affine:
        tilt = proof.tilt_degrees or 0.0
        lines += [
            ("axes", f"{proof.axes}, {proof.handedness}-handed, tilt {tilt:.2f} degrees"),
            ("affine (RAS+ mm)", affine_words(proof)),
        ]
    return lines


def affine_words(proof: GeometryProof) -> str:
    """The first three rows of the affine."""
    rows: Sequence[Sequence[float]] = proof.affine[:3] if proof.affine else ()
    return " | ".join(" ".join(f"{round(value, 4) + 0.0:g}" for value in row) for row in rows)


def chain_lines(row: SeriesCheck) -> list[Line]:
    """The pixel chain from file to network, and what came out of it."""
    lines = [(step.name, shown(step.words)) for step in row.chain.steps]
    if row.measured:
        found = row.measured
        turned = ", inverted" if found.inverted else ""
        lines.append(("values read", f"{found.lowest:g} to {found.highest:g}{turned}"))
    if row.outside:
        lines.append(("note", "values outside of what the headers allow; please report this"))
    return lines + [(step.name, shown(step.words)) for step in row.preparation]


def training_line(row: SeriesCheck) -> list[Line]:
    """Whether the series was in the bundle's training set."""
    if row.seen is None or row.ref.status != "ok":
        return []
    if row.seen.patient:
        return [("training set", "this patient was in training")]
    if row.seen.content:
        return [("training set", "this very series was in training")]
    if row.seen.patient is None:
        return [("training set", "no PatientID, so the patient could not be checked; the series was not in training")]
    return [("training set", "neither patient nor series was in training")]


def overlap_words(check: Check) -> str:
    """How the series overlap with the bundle's training set; empty without a bundle."""
    if check.bundle is None:
        return ""
    found = check.overlap
    if found is None:
        return "training set: the bundle does not say who was in training, so overlap could not be checked"
    unknown = f"; {found.unknown} series name no patient and could not be checked" if found.unknown else ""
    return (
        f"training set: {found.patients_seen} of {found.patients} patients and {found.series_seen} of "
        f"{found.series} series were in training{unknown}"
    )


def timing_words(check: Check) -> str:
    """The expected time to score, and what it was measured on."""
    timing = check.timing
    if timing is None:
        return "time to score: not measured, since only headers were read"
    read = f"headers {duration(timing.header_seconds)}, reading {duration(timing.read_seconds)}"
    total = timing.total_seconds
    if total is None:
        why = "no series that the bundle is for" if check.bundle else "the network needs a bundle"
        return f"time: {read}; measured on {timing.series} series here; {why}"
    return (
        f"time to score: about {duration(total)} ({read}, network {duration(timing.network_seconds or 0.0)}); "
        f"measured on {timing.series} series here, the network on {timing.measured_batches} of "
        f"{timing.batches} batches, on {timing.device}"
    )


def duration(seconds: float) -> str:
    """A time span for people."""
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _step_words(steps: Steps, slices: int) -> str:
    even = steps.deviation <= steps.tolerance
    words = (
        f"{slices} slices, {steps.smallest:.4g} / {steps.median:.4g} / {steps.largest:.4g} mm "
        f"(smallest / median / largest); off by {_mm(steps.deviation)}, allowed {_mm(steps.tolerance)}"
    )
    if not even:
        return words
    line = f"off the line {_mm(steps.aside)} in a step and {_mm(steps.drift)} in all"
    return f"{words}; {line}, allowed {_mm(steps.line_tolerance)}"


def _mm(length: float) -> str:
    return f"{length:.4f} mm"
