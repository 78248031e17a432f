"""A comparison from two paths to its figures: read both sides, look at them through one network, measure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import Bundle, open_bundle
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.evaluate.intervals import resampled_weights
from pipeline.learn.device import choose_device
from pipeline.model_record import read_record
from pipeline.prepare.cache import trim
from pipeline.provenance import versions
from pipeline.shift.domain import Domain
from pipeline.shift.look import Look, look_at_both, look_with_stored_reference
from pipeline.shift.measure import measure_shift
from pipeline.shift.number import Number, with_percentiles
from pipeline.shift.reading import as_domains
from pipeline.shift.sides import Setting, find_side, source_of
from pipeline.shift.stored_reference import read_reference

RESAMPLES = 500
WITHOUT_BUNDLE = frozenset(
    {"backbone", "weights", "image_size", "slices", "intensity", "window", "task", "label_column", "seed", "device"}
)
WITH_BUNDLE = frozenset({"label_column", "seed", "device"})


@dataclass(frozen=True, slots=True)
class Sides:
    """What is asked to be compared.

    Attributes:
        reference, incoming: A folder, a single file, a labels.csv; the reference may be a bundle.
        bundle: The bundle through which to look, where the reference is not one itself.
        reference_site, incoming_site: Only rows of this site of a labels.csv; empty for all.
    """

    reference: Path
    incoming: Path
    bundle: Path | None = None
    reference_site: str = ""
    incoming_site: str = ""

    @property
    def network(self) -> Path | None:
        """The bundle whose network looks at the scans, if there is one."""
        return self.reference if source_of(self.reference) == "bundle" else self.bundle


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What was measured, and on what; the page and the record are made of it.

    Attributes:
        reference, incoming: Both sides as they were compared, without identity.
        measured: `ShiftReport.to_json()`.
        ran: Counts of both sides, encoder, versions, seed, notes.
        classes: Class names; empty without a classifier.
        task: What the logits mean.
    """

    reference: Domain
    incoming: Domain
    measured: Mapping[str, Any]
    ran: Mapping[str, Any]
    classes: tuple[str, ...]
    task: str


def check_sides(sides: Sides, config: Config) -> None:
    """Refuse what makes no sense before anything is read.

    Raises:
        ConfigError: A bundle in a place where none can be, or settings that the comparison would not heed.
    """
    if source_of(sides.incoming) == "bundle":
        raise ConfigError("INCOMING is a bundle, which can only be REFERENCE; give the incoming scans")
    if source_of(sides.reference) == "bundle" and sides.bundle is not None:
        raise ConfigError("REFERENCE is a bundle already; leave --bundle out, or give reference scans")
    for role, path, site in (
        ("reference", sides.reference, sides.reference_site),
        ("incoming", sides.incoming, sides.incoming_site),
    ):
        if site and source_of(path) != "labels":
            raise ConfigError(f"--{role}-site {site}: only a labels.csv names sites")
    heeded = WITHOUT_BUNDLE if sides.network is None else WITH_BUNDLE
    odd = sorted(config.model_fields_set - heeded)
    if odd:
        whose = "without a bundle" if sides.network is None else "with a bundle, which brings its own"
        raise ConfigError(f"config: {odd[0]} is not used by shift {whose} (used: {', '.join(sorted(heeded))})")


def compare(sides: Sides, setting: Setting) -> Comparison:
    """Read both sides and measure the shift between them.

    Raises:
        PipelineError, ModelError: If a side, the bundle or the weights cannot be used.
    """
    config, cache = setting.config, setting.workspace.cache
    check_sides(sides, config)
    choose_device(config.device)
    look = _look(sides, open_bundle(sides.network) if sides.network else None, setting)
    trim(cache, keep=(cache / "training").glob("*"))
    return measured(look, setting)


def measured(look: Look, setting: Setting) -> Comparison:
    """The shift between two sides that a network has looked at."""
    config = setting.config
    reference, incoming, overlap = as_domains(look.reference, look.incoming)
    setting.watch.note(f"measuring {incoming.n} incoming scans against {reference.n}")
    report = measure_shift(reference, incoming, seed=config.seed, task=look.task)
    accuracy = measured_accuracy(incoming, config.seed)
    ran = {
        "encoder": dict(look.encoder),
        "classes": list(look.classes),
        "sides": {name: dict(record) for name, record in look.records.items()},
        "patients_on_both_sides": overlap,
        "measured_accuracy": asdict(accuracy) if accuracy else None,
        "notes": list(look.notes),
        "seed": config.seed,
        "versions": versions(),
    }
    return Comparison(reference, incoming, report.to_json(), ran, look.classes, look.task)


def measured_accuracy(side: Domain, seed: int) -> Number | None:
    """Share of labelled scans whose most probable class is theirs; None without labels or a classifier, or where a
    scan may have several. The interval is from resampled patients.
    """
    if side.logits is None or side.truth is None or (side.truth.sum(axis=1) != 1).any():
        return None
    right = (side.logits.argmax(axis=1) == side.truth.argmax(axis=1)).astype(np.float64)
    drawn = next(resampled_weights(side.n_patients, RESAMPLES, seed, RESAMPLES))[side.units]
    return with_percentiles(float(right.mean()), right @ drawn / drawn.sum(axis=0))


def _look(sides: Sides, bundle: Bundle | None, setting: Setting) -> Look:
    record = read_record(bundle) if bundle else None
    stored = None
    if bundle and record and source_of(sides.reference) == "bundle":
        stored = read_reference(bundle, record)  # before anything long
    task = record.task if record else setting.config.task
    incoming = find_side("incoming", sides.incoming, sides.incoming_site, task=task, setting=setting)
    if bundle and stored:
        return look_with_stored_reference(bundle, stored, incoming, setting)
    reference = find_side("reference", sides.reference, sides.reference_site, task=task, setting=setting)
    return look_at_both(bundle, reference, incoming, setting)
