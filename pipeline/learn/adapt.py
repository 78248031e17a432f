"""Adaptation from labels to bundle: prepare, train, calibrate, choose thresholds, write."""

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from models.backbones import build_backbone
from models.bundle import SETTINGS, Bundle, check_target, write_bundle
from models.classifier import SliceBagClassifier
from models.strategies.linear_probe import linear_probe
from pipeline.config import dump_config
from pipeline.evaluate.measure import measure
from pipeline.evaluate.plots import EpochRow
from pipeline.evaluate.report import ReportContext, per_class_rows, write_adapt_report
from pipeline.evaluate.thresholds import threshold_at_sensitivity
from pipeline.learn.calibration import fit_temperature
from pipeline.learn.card import bundle_texts
from pipeline.learn.checkpoint import Checkpoint
from pipeline.learn.features import backbone_digest
from pipeline.learn.fit import Fit, LabelledSet, macro_auroc
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import training_set
from pipeline.learn.objective import probabilities
from pipeline.learn.plan import Plan
from pipeline.learn.predictions import class_thresholds, predict_logits, prediction_table
from pipeline.model_record import FORMAT, RANDOM_HEAD, ModelRecord, RandomReference, top_state
from pipeline.prepare.cache import SampleStore, trim
from pipeline.prepare.cohort import Case, check_trainable, targets
from pipeline.watch import Watch
from pipeline.workspace import Workspace, whole_file, write_json

PACKAGES = ("scanshift", "torch", "torchvision", "monai", "pydicom", "nibabel", "scikit-learn", "numpy", "prefect")


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
    random, random_probability, random_head = _random_reference(plan, train, val, workspace, watch)
    record, metrics = _judge(plan, store, workspace, random, random_probability, watch)
    bundle = _write(plan, target, record, metrics, random_head)
    report, result = _tell(plan, run, record, metrics, history, bundle)
    checkpoint.remove()
    trim(workspace.cache)
    return AdaptResult(
        target,
        bundle.digest,
        report,
        result,
        metrics["macro"]["auroc"]["value"],
        len(plan.cohort.left_out),
        per_class_rows(metrics),
    )


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that decide a result."""
    return {"python": sys.version.split()[0], "platform": platform.platform()} | {
        name: version(name) for name in PACKAGES
    }


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


def _random_reference(
    plan: Plan, train: LabelledSet, val: LabelledSet, workspace: Workspace, watch: Watch
) -> tuple[RandomReference, torch.Tensor, dict[str, torch.Tensor]]:
    """The same head on randomly initialised weights: what a network without pretraining would give."""
    backbone = build_backbone(plan.config.backbone, seed=plan.config.seed, variant=plan.classifier.backbone.variant)
    classifier = SliceBagClassifier(backbone, len(plan.cohort.classes), pooling=plan.pooling, seed=plan.config.seed)
    checkpoint = Checkpoint(workspace.cache / "training" / f"{plan.digest()}-random.pt")
    quiet = Watch(bar=lambda title, total: watch.bar(f"random weights: {title}", total))
    fit = Fit(
        classifier,
        train=train,
        val=val,
        config=plan.config,
        device=plan.device,
        checkpoint=checkpoint,
        watch=quiet,
    )
    fit.run(linear_probe(classifier))
    checkpoint.remove()
    logits = predict_logits(
        classifier, val.store, plan.cohort.side("val"), device=plan.device, watch=quiet, title="validation rows"
    )
    task = plan.config.task
    temperature = fit_temperature(logits, val.targets, task)
    probability = probabilities(logits, task, temperature)
    reference = RandomReference(
        seed=plan.config.seed,
        torch=torch.__version__,
        checksum=backbone_digest(classifier),
        temperature=temperature,
        val_auroc=macro_auroc(probability, val.targets),
    )
    return reference, probability, top_state(classifier)


def _judge(
    plan: Plan,
    store: SampleStore,
    workspace: Workspace,
    random: RandomReference,
    random_probability: torch.Tensor,
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
        random=random_probability,
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
        random_reference=random,
        config=config,
    )
    return record, measure(table, thresholds, anomaly_threshold, seed=config.seed)


def _write(
    plan: Plan, target: Path, record: ModelRecord, metrics: dict[str, Any], random_head: dict[str, torch.Tensor]
) -> Bundle:
    seen = training_set([case for case in plan.cohort.cases if case.split != "test" and case.labels])
    texts = {
        SETTINGS: record.to_yaml(),
        TRAINING_SET: seen.to_json(),
        **bundle_texts(record, metrics, plan.cohort.notes, versions()),
    }
    states = {"models/model.pt": plan.classifier.cpu().state_dict(), RANDOM_HEAD: random_head}
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


def report_context(
    record: ModelRecord,
    bundle: Bundle,
    title: str,
    notes: Sequence[str],
    left_out: Sequence[tuple[int, str]],
) -> ReportContext:
    """What a report says of the model and the run, without any identity."""
    reasons: dict[str, int] = {}
    for _, reason in left_out:
        code = reason.partition(":")[0]
        reasons[code] = reasons.get(code, 0) + 1
    return ReportContext(
        title=title,
        bundle=bundle.digest[:12],
        backbone=record.backbone,
        strategy=record.config.strategy,
        weights=record.weights["origin"],
        task=record.task,
        classes=record.classes,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        refused=reasons,
        notes=tuple(notes),
        config={key: str(value) for key, value in record.config.model_dump(mode="json").items()},
        history=(),
        versions=versions(),
    )
