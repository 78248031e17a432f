"""Adaptation from labels to bundle: prepare, train, calibrate, choose thresholds, write."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from models.bundle import SETTINGS, Bundle, check_target, write_bundle
from pipeline.config import dump_config
from pipeline.evaluate.context import report_context
from pipeline.evaluate.measure import measure
from pipeline.evaluate.plots import EpochRow
from pipeline.evaluate.report import per_class_rows, write_adapt_report
from pipeline.evaluate.thresholds import threshold_at_sensitivity
from pipeline.learn.calibration import fit_temperature
from pipeline.learn.card import bundle_texts
from pipeline.learn.checkpoint import Checkpoint
from pipeline.learn.fit import Fit, LabelledSet
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import training_set
from pipeline.learn.plan import Plan
from pipeline.learn.predictions import class_thresholds, predict_logits, prediction_table
from pipeline.learn.random_reference import FittedReference, fit_reference
from pipeline.model_record import FORMAT, RANDOM_HEAD, ModelRecord
from pipeline.prepare.cache import SampleStore, trim
from pipeline.prepare.cohort import Case, check_trainable, targets
from pipeline.provenance import versions
from pipeline.watch import Watch
from pipeline.workspace import Workspace, whole_file, write_json


@dataclass(frozen=True, slots=True)
class AdaptResult:
    """What an adaptation made.

    Attributes:
        bundle: Folder of the bundle.
        digest: Its digest.
        report: The report.
        result: result.json, with the figures on the validation rows.
        val_auroc: Macro AUROC on the validation rows.
        left_out: Rows of labels.csv whose series was refused.
        classes: Per-class figures on the validation rows.
    """

    bundle: Path
    digest: str
    report: Path
    result: Path
    val_auroc: float
    left_out: int
    classes: list[dict[str, Any]]


def adapt(plan: Plan, workspace: Workspace, target: Path, run: Path, watch: Watch) -> AdaptResult:
    """Carry out a plan.

    Args:
        plan: Of `make_plan`.
        workspace: Where prepared slices, features and the checkpoint are kept.
        target: Folder of the bundle to write; one from before stays as it is until the new one is whole.
        run: Folder for the configuration, the report and result.json.
        watch: Where progress is told.

    Raises:
        CohortError: If the scans that could be read are not enough.
        TrainingError: If training goes wrong from its start.
        BundleError: If `target` holds something else.
    """
    check_target(target)
    with whole_file(run / "config.yaml") as file:
        file.write(dump_config(plan.config))
    with whole_file(run / "environment.txt") as file:
        file.writelines(f"{name} {value}\n" for name, value in versions().items())
    store = SampleStore(workspace.cache, plan.preparation)
    plan = _prepare(plan, store, watch)
    train, val = (_labelled(plan, store, side) for side in (plan.cohort.side("train"), plan.cohort.side("val")))
    checkpoint = Checkpoint(workspace.cache / "training" / f"{plan.digest()}.pt")
    fit = Fit(
        plan.classifier,
        train=train,
        val=val,
        config=plan.config,
        device=plan.device,
        checkpoint=checkpoint,
        watch=watch,
    )
    history = fit.run(plan.phases)
    random = fit_reference(plan, train, val, checkpoint.beside("random"), watch)
    record, metrics = _judge(plan, store, workspace, random, watch)
    bundle = _write(plan, target, record, metrics, random)
    report, result = _tell(plan, run, record, metrics, history, bundle)
    checkpoint.remove()
    trim(workspace.cache, keep=(workspace.cache / "training").glob("*"))
    return AdaptResult(
        target,
        bundle.digest,
        report,
        result,
        metrics["macro"]["auroc"]["value"],
        len(plan.cohort.left_out),
        per_class_rows(metrics),
    )


def _prepare(plan: Plan, store: SampleStore, watch: Watch) -> Plan:
    used = [case for case in plan.cohort.cases if case.labels and case.split != "test"]
    refused = store.fill([case.ref for case in used], watch.bar("preparing scans", len(used)))
    if not refused:
        return plan
    cohort = plan.cohort.without(refused)
    check_trainable(cohort, plan.config)
    return replace(plan, cohort=cohort)


def _labelled(plan: Plan, store: SampleStore, cases: Sequence[Case]) -> LabelledSet:
    indicators = torch.from_numpy(targets(cases, plan.cohort.classes)).float()
    return LabelledSet(store, tuple(case.ref.key for case in cases), indicators)


def _judge(
    plan: Plan,
    store: SampleStore,
    workspace: Workspace,
    random: FittedReference,
    watch: Watch,
) -> tuple[ModelRecord, dict[str, Any]]:
    """Calibrate and choose thresholds on the validation rows, and measure there."""
    config, cases = plan.config, plan.cohort.side("val")
    logits = predict_logits(plan.classifier, store, cases, device=plan.device, watch=watch, title="validation rows")
    truth = torch.from_numpy(targets(cases, plan.cohort.classes))
    temperature = fit_temperature(logits, truth, config.task)
    table = prediction_table(
        cases,
        logits,
        classes=plan.cohort.classes,
        task=config.task,
        temperature=temperature,
        key=workspace.key(),
        random=random.probability,
    )
    thresholds = class_thresholds(table, config.sensitivity_target)
    abnormal = table.truth[:, 1:].max(axis=1) == 1
    anomaly_threshold = threshold_at_sensitivity(table.anomaly_score, abnormal, config.sensitivity_target)
    record = ModelRecord(
        format=FORMAT,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=plan.cohort.classes,
        task=config.task,
        backbone=config.backbone,
        variant=plan.classifier.backbone.variant,
        pooling=plan.pooling,
        preparation=plan.preparation,
        temperature=temperature,
        thresholds=dict(thresholds),
        anomaly_threshold=anomaly_threshold,
        policy={"kind": "sensitivity on validation rows", "target": config.sensitivity_target},
        weights=plan.weights,
        training=plan.counts(),
        random_reference=random.reference,
        config=config,
    )
    return record, measure(table, thresholds, anomaly_threshold, seed=config.seed)


def _write(plan: Plan, target: Path, record: ModelRecord, metrics: dict[str, Any], random: FittedReference) -> Bundle:
    seen = training_set([case for case in plan.cohort.cases if case.split != "test" and case.labels])
    texts = {
        SETTINGS: record.to_yaml(),
        TRAINING_SET: seen.to_json(),
        **bundle_texts(record, metrics, plan.cohort.notes, versions()),
    }
    states = {"models/model.pt": plan.classifier.cpu().state_dict(), RANDOM_HEAD: random.head}
    return write_bundle(target, texts, states)


def _tell(
    plan: Plan,
    run: Path,
    record: ModelRecord,
    metrics: dict[str, Any],
    history: Sequence[EpochRow],
    bundle: Bundle,
) -> tuple[Path, Path]:
    context = report_context(record, bundle, "Adaptation", plan.cohort.notes, plan.cohort.left_out)
    report, result = run / "report.html", run / "result.json"
    auroc = metrics["macro"]["auroc"]
    verdict = (
        f"Adapted {record.backbone} by {record.config.strategy}: macro AUROC {auroc['value']:.3f} on "
        f"{metrics['n']} validation scans. These rows chose the epoch, the temperature and the thresholds, so the "
        "figure flatters; run scanshift validate on test rows before trusting it."
    )
    write_adapt_report(report, context, list(history), metrics, verdict)
    write_json(
        result,
        {
            "bundle": bundle.digest,
            "verdict": verdict,
            "training": record.training,
            "notes": list(plan.cohort.notes),
            "left_out": [{"line": line, "reason": reason} for line, reason in plan.cohort.left_out],
            "history": [[r.phase, r.epoch, r.train_loss, r.val_loss, r.val_auroc] for r in history],
            "validation": metrics,
        },
    )
    return report, result
