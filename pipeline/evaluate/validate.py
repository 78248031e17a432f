"""Validation: a bundle, labelled scans it has not seen, per-class and per-site figures with intervals."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.bundle import Bundle, open_bundle
from pipeline.card.facts import read_facts
from pipeline.decide.prediction_sets import undetermined
from pipeline.decide.refer import referral
from pipeline.detect.calibrate import promise_of
from pipeline.detect.scan_detector import load_detector, raw_threshold, read_scale
from pipeline.errors import CohortError
from pipeline.evaluate.clinical import Asked
from pipeline.evaluate.context import report_context
from pipeline.evaluate.decisions import measure_decisions
from pipeline.evaluate.measure import measure
from pipeline.evaluate.measured_rows import measured_cohort
from pipeline.evaluate.predictions import PredictionTable
from pipeline.evaluate.prevalence import DECISION, check_prevalence
from pipeline.evaluate.report import Sections, write_per_class_csv, write_validation_report
from pipeline.gallery.gallery import make_gallery
from pipeline.gate.header_check import check_headers
from pipeline.learn.device import choose_device
from pipeline.learn.predictions import detection_table, predict_logits, prediction_table
from pipeline.learn.random_reference import reference_probability
from pipeline.model_record import ModelRecord, load_classifier, read_record
from pipeline.prepare.cache import SampleStore, trim
from pipeline.prepare.cohort import Case, Cohort
from pipeline.score.scan_models import load_model
from pipeline.score.scorer import Scorer
from pipeline.shift.of_validation import shift_of_validation
from pipeline.shortcuts.find import find_shortcuts
from pipeline.watch import Watch
from pipeline.workspace import Workspace, safe_cell, whole_file, write_json


@dataclass(frozen=True, slots=True)
class ValidateResult:
    """What a validation wrote, and its headline.

    Attributes:
        out: Folder with metrics.json, per_class.csv, predictions.csv and report.html.
        metrics: The content of metrics.json.
        left_out: Rows that were not measured, with the reason code first.
    """

    out: Path
    metrics: dict[str, Any]
    left_out: tuple[tuple[int, str], ...]


def validate(
    bundle_folder: Path,
    labels: Path,
    workspace: Workspace,
    out: Path,
    watch: Watch,
    *,
    shortcuts: bool = False,
    prevalence: Mapping[str, float] | None = None,
    gallery: bool = True,
) -> ValidateResult:
    """Measure a bundle on the `test` rows of a labels.csv, or on all rows if none is `test`.

    Rows whose patient, or whose very file, was in training are left out, and scans that look like copies of those of
    training, or unlike all of them; if no other is left, it is refused. On request shortcuts are looked for, which
    costs two or three more passes of the network over at most 500 scans. `prevalence`, class to share, asks for PPV and
    NPV there; `anomaly` names the decision.
    `gallery` shows pixels of a few scans in the report, with whatever is burned into them.

    Raises:
        ConfigError: If `prevalence` names no class of the bundle, or no share.
        BundleError: If the bundle is incomplete or altered.
        LabelsError, SourceError: If labels.csv cannot be used.
        LeakageError: If every row was in training.
        CohortError: If nothing readable is left.
    """
    bundle = open_bundle(bundle_folder)
    record = read_record(bundle)
    asked = _asked(record, prevalence or {})
    store = SampleStore(workspace.cache, record.preparation)
    cohort = measured_cohort(labels, bundle, record, store, workspace, watch)
    cohort, unfamiliar = _compared_headers(labels, cohort, record, watch)
    cases = [case for case in cohort.cases if case.labels]
    predict = _predict if record.detector is None else _detect
    table = predict(cases, bundle, record, store, workspace, watch)
    watch.note(f"measuring {table.n} scans of {len(set(table.patient))} patients")
    metrics = measure(
        table,
        record.thresholds,
        record.anomaly_threshold,
        promise=promise_of(record),
        asked=asked,
        seed=record.config.seed,
    )
    referrals = _referrals(cases, table, record, unfamiliar)
    decisions = measure_decisions(
        table, record.sets, referrals, threshold=record.anomaly_threshold, seed=record.config.seed
    )
    metrics = {"bundle": bundle.digest, **metrics, **decisions}
    if shortcuts:
        device = choose_device("auto")
        metrics["shortcuts"] = find_shortcuts(bundle, record, store, cases, table, device=device, watch=watch)
    sections = _sections(bundle, record, cases, table, store, watch, gallery=gallery)
    _write(out, bundle, record, cohort, cases, table, referrals, metrics, sections)
    trim(workspace.cache, keep=(workspace.cache / "training").glob("*"))
    return ValidateResult(out, metrics, cohort.left_out)


def _asked(record: ModelRecord, prevalence: Mapping[str, float]) -> Asked:
    classes = () if record.task == "one_class" else record.classes
    check_prevalence(prevalence, (*classes, DECISION))
    return Asked(record.policy, prevalence)


def _sections(
    bundle: Bundle,
    record: ModelRecord,
    cases: Sequence[Case],
    table: PredictionTable,
    store: SampleStore,
    watch: Watch,
    *,
    gallery: bool,
) -> Sections:
    device = choose_device("auto")
    shown = None
    if gallery:
        from pipeline.score.maps.draws import draw_of  # MONAI takes seconds to import

        scorer = Scorer(load_model(bundle, record, device), bundle.digest, device)
        shown = make_gallery(cases, table, record, store, draw_of(scorer), watch)
    shift = shift_of_validation(bundle, record, cases, store, device, watch)
    return Sections(shown, shift, read_facts(bundle))


def _predict(
    cases: Sequence[Case],
    bundle: Bundle,
    record: ModelRecord,
    store: SampleStore,
    workspace: Workspace,
    watch: Watch,
) -> PredictionTable:
    device = choose_device("auto")
    classifier = load_classifier(bundle, record)
    logits = predict_logits(classifier, store, cases, device=device, watch=watch, title="scoring test rows")
    random, reason = reference_probability(cases, bundle, record, store, device, watch)
    return prediction_table(
        cases,
        logits,
        classes=record.classes,
        task=record.task,
        temperature=record.temperature,
        bias=record.bias,
        key=workspace.key(),
        random=random,
        random_reason=reason,
    )


def _detect(
    cases: Sequence[Case],
    bundle: Bundle,
    record: ModelRecord,
    store: SampleStore,
    workspace: Workspace,
    watch: Watch,
) -> PredictionTable:
    detector = load_detector(bundle, record, choose_device("auto"))
    raw = detector.raw_scores(store, [case.ref.key for case in cases], watch.bar("scoring test rows", len(cases)))
    called = raw >= raw_threshold(record)
    return detection_table(
        cases, raw, read_scale(bundle, record), called, workspace.key(), normal=record.classes[0]
    )  # fmt: skip


def _compared_headers(labels: Path, cohort: Cohort, record: ModelRecord, watch: Watch) -> tuple[Cohort, dict[str, str]]:
    """The cohort without the scans that scoring refuses for their header, and what is unfamiliar in those of others.

    Raises:
        CohortError: If no labelled row is left.
    """
    if record.headers is None:
        return cohort, {}
    cases = [case for case in cohort.cases if case.labels]
    bar = watch.bar("comparing headers", len(cases))
    found = {}
    for case in cases:
        found[case.ref.key] = check_headers(case.ref, record.headers)
        bar(1)
    refused = {content: verdict.refusal for content, verdict in found.items() if verdict.refusal}
    if len(refused) == len(found):
        raise CohortError(f"{labels}: no row could be measured ({next(iter(refused.values()))})")
    kept = cohort.without(refused, "their headers name a body part that the model was not adapted to")
    return kept, {content: verdict.referral for content, verdict in found.items()}


def _referrals(
    cases: Sequence[Case], table: PredictionTable, record: ModelRecord, unfamiliar: Mapping[str, str]
) -> list[str]:
    """Why each scan is referred, as scoring says it; empty where it is not."""
    uncertain = undetermined(record.sets, table.probability) if record.sets else ("",) * table.n
    return [referral(unfamiliar.get(case.ref.key, ""), why) for case, why in zip(cases, uncertain, strict=True)]


def _write(
    out: Path,
    bundle: Bundle,
    record: ModelRecord,
    cohort: Cohort,
    cases: Sequence[Case],
    table: PredictionTable,
    referrals: Sequence[str],
    metrics: dict[str, Any],
    sections: Sections,
) -> None:
    write_json(out / "metrics.json", metrics)
    write_per_class_csv(out / "per_class.csv", metrics)
    _write_predictions(out / "predictions.csv", cases, table, record, referrals)
    detector = record.detector.shown() if record.detector else None
    context = report_context(record, bundle, "Validation", cohort.notes, cohort.left_out, detector=detector)
    write_validation_report(out / "report.html", metrics, table, context, sections)


def _write_predictions(
    path: Path, cases: Sequence[Case], table: PredictionTable, record: ModelRecord, referrals: Sequence[str]
) -> None:
    """predictions.csv: the user's own, with real paths and UIDs, mode 0600.

    Numbers have all their digits: rounded ones tie, and then no longer rank as the scores that were measured.
    """
    columns = ["source", "series_uid", "label", "predicted", "anomaly_score"]
    columns += [*(f"p_{name}" for name in table.classes), "decision", "reason", "called", "patient"]
    with whole_file(path, private=True) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        abnormal = table.decided(record.anomaly_threshold)
        called = ["anomaly" if one else "normal" for one in abnormal]
        best = abnormal.astype(int) if record.detector is not None else table.probability.argmax(axis=1)
        for n, case in enumerate(cases):
            writer.writerow(
                [
                    case.ref.files[0] if len(case.ref.files) == 1 else str(Path(case.ref.files[0]).parent),
                    safe_cell(case.ref.series_uid),
                    safe_cell("|".join(case.labels)),
                    safe_cell(table.classes[int(best[n])]),
                    repr(float(table.anomaly_score[n])),
                    *(repr(float(p)) for p in table.probability[n]),
                    "refer" if referrals[n] else called[n],
                    safe_cell(referrals[n]),
                    called[n],
                    table.patient[n],
                ]
            )
