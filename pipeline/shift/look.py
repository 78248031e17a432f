"""Both sides seen through one network: a bundle's, or a pretrained backbone with a probe on the reference's labels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.bundle import Bundle
from pipeline.config import Task
from pipeline.learn.device import choose_device
from pipeline.learn.leakage import TrainingSet, read_training_set
from pipeline.prepare.cache import SampleStore
from pipeline.shift.encoder import Encoder, backbone_encoder, bundle_encoder
from pipeline.shift.probe import FOLDS, probe_logits
from pipeline.shift.reading import Scans, labelled_only, prepare_side, read_scans, side_record, truth_of
from pipeline.shift.sides import FoundSide, Setting, at_most, not_trained_on, of_one_kind, with_known_labels
from pipeline.shift.stored_reference import Reference

FEW_LABELLED = 20
TOO_FEW = f"no classifier: no bundle, and a class of the reference has too few patients for {FOLDS} groups"
PROBE = f"linear probe on the reference's labels, cross-fitted over {FOLDS} groups of patients"


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Both sides as numbers, and how they came about.

    Attributes:
        reference, incoming: The scans of each side.
        records: `reference` and `incoming` to their counts.
        encoder: What looked at them: `backbone`, `weights`, `bundle` (digest or null), `kind`, `classifier` (what gave
            the logits, or null) and `reason`.
        classes: Class names; empty without a classifier.
        task: What the logits mean.
        notes: What the reader must know.
    """

    reference: Scans
    incoming: Scans
    records: Mapping[str, Mapping[str, object]]
    encoder: Mapping[str, Any]
    classes: tuple[str, ...]
    task: Task
    notes: tuple[str, ...]


def look_with_stored_reference(bundle: Bundle, stored: Reference, incoming: FoundSide, setting: Setting) -> Look:
    """Incoming scans beside the statistics that their bundle keeps of its own held-out scans."""
    encoder = bundle_encoder(bundle, choose_device(setting.config.device))
    store = SampleStore(setting.workspace.cache, encoder.preparation)
    side = _narrowed(incoming, encoder, setting.config.seed, read_training_set(bundle))
    side = prepare_side(side, store, setting.watch)
    scans = read_scans(side, encoder, store, setting.watch)
    patients = len(set(stored.scans.patients))
    n = len(stored.scans.patients)
    kept = {"source": "bundle", "found": n, "used": n, "patients": patients, "labelled": n, "left_out": {}}
    note = (
        f"the reference is what the bundle keeps of {n} held-out scans, as {len(stored.basis)} directions of their "
        "features; a shift beyond these directions would not be seen, give the reference scans to look further"
    )
    return Look(
        reference=stored.scans,
        incoming=replace(scans, features=stored.project(scans.features)),
        records={"reference": kept, "incoming": side_record(side)},
        encoder=_described(encoder, "the bundle's", ""),
        classes=encoder.classes,
        task=encoder.task,
        notes=(note, *side.notes),
    )


def look_at_both(bundle: Bundle | None, reference: FoundSide, incoming: FoundSide, setting: Setting) -> Look:
    """Both sides through the bundle's network, or through a pretrained backbone where there is none."""
    device, watch = choose_device(setting.config.device), setting.watch
    refs = [member.ref for member in reference.members]
    encoder = bundle_encoder(bundle, device) if bundle else backbone_encoder(setting.config, refs, device)
    training = read_training_set(bundle) if bundle else None
    store = SampleStore(setting.workspace.cache, encoder.preparation)
    reference, incoming = (_narrowed(side, encoder, setting.config.seed, training) for side in (reference, incoming))
    reference = prepare_side(labelled_only(reference, FEW_LABELLED), store, watch)
    incoming = prepare_side(incoming, store, watch)
    if not bundle:
        encoder.standardise(store, [member.ref.key for member in reference.members])
    here, there = (read_scans(side, encoder, store, watch) for side in (reference, incoming))
    classifier, reason, classes = "the bundle's", "", encoder.classes
    if not bundle:
        classes, reason = probe_classes(reference, setting.config.task)
        incoming = with_known_labels(incoming, classes) if classes else incoming
        found = with_probe(reference, here, incoming, there, classes=classes, seed=setting.config.seed)
        if found is None:
            classes, reason = (), reason or TOO_FEW
        else:
            here, there = found
        classifier = PROBE if classes else ""
    return Look(
        reference=here,
        incoming=there,
        records={side.role: side_record(side) for side in (reference, incoming)},
        encoder=_described(encoder, classifier, reason),
        classes=classes,
        task=encoder.task,
        notes=(*encoder.notes, *reference.notes, *incoming.notes),
    )


def _narrowed(side: FoundSide, encoder: Encoder, seed: int, training: TrainingSet | None) -> FoundSide:
    side = of_one_kind(side, encoder.preparation)
    if training is not None:
        side = not_trained_on(side, training)
    if encoder.classes:
        side = with_known_labels(side, encoder.classes)
    return at_most(side, seed)


def probe_classes(reference: FoundSide, task: Task) -> tuple[tuple[str, ...], str]:
    """The classes that a probe can tell apart, or none and why."""
    labels = {label for member in reference.members for label in member.labels}
    if not all(member.labels for member in reference.members):
        return (), f"no classifier: no bundle, and fewer than {FEW_LABELLED} labelled reference scans"
    if task != "multiclass":
        return (), f"no classifier: no bundle, and a probe is not fitted for task {task}"
    if len(labels) < 2:
        return (), "no classifier: no bundle, and the reference has one class only"
    return tuple(sorted(labels)), ""


def with_probe(
    reference: FoundSide, here: Scans, incoming: FoundSide, there: Scans, *, classes: tuple[str, ...], seed: int
) -> tuple[Scans, Scans] | None:
    """Both sides with a cross-fitted probe's logits and with their labels; None where no probe can be fitted."""
    truth = truth_of(reference.members, classes)
    if truth is None:
        return None
    found = probe_logits(here.features, truth, here.patients, there.features, there.patients, seed=seed)
    if found is None:
        return None
    return (
        replace(here, logits=found[0], truth=truth),
        replace(there, logits=found[1], truth=truth_of(incoming.members, classes)),
    )


def _described(encoder: Encoder, classifier: str, reason: str) -> dict[str, Any]:
    preparation = encoder.preparation
    return {
        "backbone": encoder.name,
        "weights": encoder.weights,
        "bundle": encoder.digest or None,
        "kind": f"{preparation.kind} {preparation.modality}",
        "image_size": preparation.image_size,
        "classifier": classifier or None,
        **({"reason": reason} if reason else {}),
    }
