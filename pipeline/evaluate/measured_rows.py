"""Which rows of a labels.csv a bundle is measured on: those that it has not seen, of its kind, that can be read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from models.bundle import Bundle
from models.classifier import SliceBagClassifier
from models.detectors.detector import Detector
from pipeline.detect.scan_detector import load_detector
from pipeline.errors import CohortError, LeakageError, Reason
from pipeline.gate.fit import stage_means
from pipeline.gate.gate import check_gate, read_gate
from pipeline.learn.device import choose_device
from pipeline.learn.known_pictures import copies_among
from pipeline.learn.leakage import TrainingSet, read_training_set
from pipeline.learn.plan import find_series
from pipeline.model_record import ModelRecord, load_classifier
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, Cohort, build_cohort, load_rows
from pipeline.prepare.picture_hash import Levels
from pipeline.watch import Watch
from pipeline.workspace import Workspace


def measured_cohort(
    labels: Path, bundle: Bundle, record: ModelRecord, store: SampleStore, workspace: Workspace, watch: Watch
) -> Cohort:
    """The `test` rows, or all where none is, prepared in the store, less those that would tell nothing.

    Left out with a reason are rows whose pixels cannot be used, whose patient or file was in training, whose scan looks
    like a copy of one from training, or unlike all of them, as scoring refuses it. At least one labelled row is left.

    Raises:
        LabelsError, SourceError: If labels.csv cannot be used.
        LeakageError: If every row was in training.
        CohortError: If nothing else is left.
    """
    seen = read_training_set(bundle)
    cohort = _cohort(labels, seen, record, workspace, watch)
    cases = _labelled(cohort)
    cohort = cohort.without(store.fill([case.ref for case in cases], watch.bar("preparing scans", len(cases))))
    _require(labels, cohort)
    cohort = _without_copies(labels, cohort, _labelled(cohort), seen, record, store, watch)
    cohort = _of_its_kind(cohort, _labelled(cohort), bundle, record, store, watch)
    _require(labels, cohort)
    return cohort


def _labelled(cohort: Cohort) -> list[Case]:
    return [case for case in cohort.cases if case.labels]


def _require(labels: Path, cohort: Cohort) -> None:
    if not _labelled(cohort):
        why = f" ({cohort.left_out[-1][1]})" if cohort.left_out else ": no row has a label"
        raise CohortError(f"{labels}: no row could be measured{why}")


def _cohort(labels: Path, seen: TrainingSet, record: ModelRecord, workspace: Workspace, watch: Watch) -> Cohort:
    config = record.config.model_copy(update={"source_sites": (), "target_sites": ()})
    rows = load_rows(labels, config)
    tested = [row for row in rows if row.split == "test"]
    rows = [replace(row, split="test") for row in tested or rows]
    cohort = build_cohort(labels, rows, find_series(rows, workspace, watch), config)
    fresh = tuple(case for case in cohort.cases if not seen.saw(case))
    known = len(cohort.cases) - len(fresh)
    if not fresh:
        raise LeakageError(f"{labels}: every row's patient or scan was in training; bring rows that were not")
    notes = list(cohort.notes)
    if not tested:
        notes.append("no row is test, so all rows were used")
    if known:
        notes.append(f"{known} rows were left out because their patient or scan was in training")
    return replace(cohort, cases=fresh, notes=tuple(notes))


def _of_its_kind(
    cohort: Cohort, cases: Sequence[Case], bundle: Bundle, record: ModelRecord, store: SampleStore, watch: Watch
) -> Cohort:
    """Without the scans that scoring refuses as unlike all that the model was adapted to."""
    gate = read_gate(bundle, record.gate)
    if gate is None:
        return cohort
    device = choose_device("auto")
    network = _network(bundle, record, device)
    check_gate(bundle, gate, network.backbone)
    rows = network.features if isinstance(network, SliceBagClassifier) else network.pooled_first
    contents = [case.ref.key for case in cases]
    bar = watch.bar("looking for scans of another kind", len(contents))
    means = stage_means(network.backbone, gate.record.stage, rows, store, contents, device, bar)
    told = {content: gate.refusal(rows) for content, rows in zip(contents, means, strict=True)}
    refused = {content: reason for content, reason in told.items() if reason}
    abnormal = sum(case.ref.key in refused and case.labels != cohort.classes[:1] for case in cases)
    why = f"they are unlike all scans that the model was adapted to ({abnormal} of them abnormal)"
    return cohort.without(refused, why)


def _network(bundle: Bundle, record: ModelRecord, device: torch.device) -> SliceBagClassifier | Detector:
    if record.detector is None:
        return load_classifier(bundle, record).to(device)
    return load_detector(bundle, record, device).detector


def _without_copies(
    labels: Path,
    cohort: Cohort,
    cases: Sequence[Case],
    seen: TrainingSet,
    record: ModelRecord,
    store: SampleStore,
    watch: Watch,
) -> Cohort:
    """The cohort without cases that look like copies of scans of training, unless these are only to be told."""
    known = seen.all_pictures()
    if not known:
        return cohort.without_lines({}, ["the bundle is from before copies of scans were recognised: not checked"])
    bar = watch.bar("comparing with training scans", len(cases))
    copies = copies_among(_watched(store, cases, bar), known)
    lines = [case.line for case, copy in zip(cases, copies, strict=True) if copy]
    if not lines:
        return cohort
    what = f"{len(lines)} rows look like copies of scans from training"
    if record.config.near_duplicates == "list":
        return cohort.without_lines({}, [f"{what} and were measured all the same, as near_duplicates=list asks"])
    if len(lines) == len(cases):
        raise LeakageError(f"{labels}: every scan looks like a copy of one from training; bring scans that were not")
    reason = f"{Reason.NEAR_DUPLICATE}: looks like a copy of a scan from training"
    return cohort.without_lines(dict.fromkeys(lines, reason), [f"{what} and were left out"])


def _watched(store: SampleStore, cases: Sequence[Case], bar: Callable[[int], None]) -> Iterator[Levels]:
    for case in cases:
        yield store.load(case.ref.key)
        bar(1)
