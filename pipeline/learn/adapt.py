"""Adaptation from labels to bundle: prepare, train, calibrate, choose thresholds, write."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from models.bundle import SETTINGS, Bundle, write_bundle
from models.bundle import check_target as check_target_folder
from pipeline.card.render import bundle_texts
from pipeline.config import dump_config
from pipeline.decide.choose import choose
from pipeline.decide.decision_scores import TENSORS as DECISION_SCORES
from pipeline.decide.decision_scores import DecisionScores, decision_scores
from pipeline.decide.policy import configured_policy
from pipeline.detect.adapt import adapt_detector
from pipeline.errors import RefusedError
from pipeline.evaluate.context import refusal_context, report_context
from pipeline.evaluate.measure import measure
from pipeline.evaluate.report import per_class_rows, write_adapt_report
from pipeline.evaluate.set_coverage import table_sets
from pipeline.evaluate.thresholds import class_thresholds
from pipeline.gate.fit import fit_gate
from pipeline.gate.gate import TENSORS as GATE
from pipeline.gate.gate import Gate
from pipeline.gate.header_ranges import fit_header_ranges
from pipeline.learn.adapt_result import AdaptResult
from pipeline.learn.calibration import fit_temperature
from pipeline.learn.card_facts import card_facts
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import training_set, training_sets_of
from pipeline.learn.plan import Plan
from pipeline.learn.predictions import prediction_table
from pipeline.learn.prepared import prepared, used_cases
from pipeline.learn.ranks import check_ranks, current_ranks
from pipeline.learn.reference_scans import bundle_reference
from pipeline.learn.train import Made, harmonised, train_best
from pipeline.model_record import FORMAT, RANDOM_HEAD, ModelRecord
from pipeline.prepare.cache import SampleStore, trim
from pipeline.prepare.cohort import targets
from pipeline.provenance import versions
from pipeline.shift.bcts import Calibration
from pipeline.watch import Watch
from pipeline.workspace import Workspace, whole_file, write_json


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
        RefusedError: If no model deserves trust; report and result.json are written all the same.
    """
    check_ranks(plan.config, plan.phases, current_ranks())
    if plan.config.task == "one_class":
        return adapt_detector(plan, workspace, target, run, watch)
    check_target_folder(target)
    with whole_file(run / "config.yaml") as file:
        file.write(dump_config(plan.config))
    with whole_file(run / "environment.txt") as file:
        file.writelines(f"{name} {value}\n" for name, value in versions().items())
    store = SampleStore(workspace.cache, plan.preparation)
    plan = prepared(plan, store, watch)
    plan, store = harmonised(plan, store, watch)
    current_ranks().meet()  # the others, in `follow`, find catalogue and cache filled
    made = train_best(plan, store, workspace, watch)
    plan = made.plan
    if made.refusal:
        report, _ = _tell_refusal(made, run)
        raise RefusedError(f"{made.refusal}; report: {report}")
    record, metrics, scores = _judge(made, workspace)
    gate, lacking = _gate(made, watch)
    headers, uncompared = fit_header_ranges(used_cases(made.plan), seed=made.plan.config.seed, watch=watch)
    lacking = (*(record.sets.lines if record.sets else ()), *lacking, *uncompared)
    record = record.model_copy(update={"gate": gate.record if gate else None, "headers": headers})
    for note in (*record.policy.notes, *lacking):
        watch.note(note)
    bundle = _write(made, target, record, metrics, scores, gate, watch)
    report, result = _tell(made, run, record, metrics, bundle, lacking)
    made.checkpoint.remove()
    trim(workspace.cache, keep=(workspace.cache / "training").glob("*"))
    return AdaptResult(
        target,
        bundle.digest,
        report,
        result,
        made.verdict or _flattered(record, metrics),
        metrics["macro"]["auroc"]["value"],
        len(plan.cohort.left_out),
        per_class_rows(metrics),
    )


def _judge(made: Made, workspace: Workspace) -> tuple[ModelRecord, dict[str, Any], DecisionScores]:
    """Calibrate and choose thresholds on scans that the model has not seen, and measure there."""
    plan, config = made.plan, made.plan.config
    truth = torch.from_numpy(targets(made.cases, plan.cohort.classes))
    found = made.calibration or Calibration(fit_temperature(made.logits, truth, config.task), ())
    table = prediction_table(
        made.cases,
        made.logits,
        classes=plan.cohort.classes,
        task=config.task,
        temperature=found.temperature,
        bias=found.bias,
        key=workspace.key(),
        random=made.random.probability if made.random else None,
        random_reason="" if made.random else "strategy auto fits none",
    )
    rule = configured_policy(config.policy, config.task, config.sensitivity_target)
    target = rule.class_sensitivity(config.sensitivity_target)
    thresholds = class_thresholds(table.classes, table.probability, table.truth, target)
    scores = decision_scores(
        table.anomaly_score,
        table.truth[:, 1:].max(axis=1),
        table.patient,
        seed=config.seed,
        probability=table.probability,
        truth=table.truth,
    )
    choice = choose(rule, scores, measured_on=made.measured_on, raw=False)
    record = ModelRecord(
        format=FORMAT,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=plan.cohort.classes,
        task=config.task,
        backbone=plan.classifier.backbone.name,
        variant=plan.classifier.backbone.variant,
        pooling=plan.pooling,
        preparation=made.preparation,
        temperature=found.temperature,
        bias=found.bias,
        thresholds=thresholds,
        anomaly_threshold=choice.threshold,
        policy=choice.record,
        weights=plan.weights,
        training=plan.counts(),
        random_reference=made.random.reference if made.random else None,
        sets=table_sets(table, config.conformal_level),
        config=config,
    )
    return record, measure(table, thresholds, choice.threshold, seed=config.seed), scores


def _gate(made: Made, watch: Watch) -> tuple[Gate | None, tuple[str, ...]]:
    """What says which scans are of another kind, or a note on why nothing does."""
    plan, store = made.plan, SampleStore(made.store.folder, made.preparation)
    network = plan.classifier.to(plan.device).eval()
    return fit_gate(
        network.backbone,
        network.features,
        store,
        used_cases(plan),
        seed=plan.config.seed,
        device=plan.device,
        watch=watch,
    )


def _write(
    made: Made,
    target: Path,
    record: ModelRecord,
    metrics: dict[str, Any],
    scores: DecisionScores,
    gate: Gate | None,
    watch: Watch,
) -> Bundle:
    plan, store = made.plan, SampleStore(made.store.folder, made.preparation)
    known = [case for case in plan.cohort.cases if case.split != "test"]
    used = [case for case in known if case.labels or case.site in plan.config.target_sites]
    seen = training_set(used, training_sets_of(plan.config.weights), store)
    texts, states = bundle_reference(made, store, record, watch)
    facts = card_facts(plan, metrics, history=made.history, ladder=made.ladder, backbones=made.backbones)
    texts |= {
        SETTINGS: record.to_yaml(),
        TRAINING_SET: seen.to_json(),
        **bundle_texts(record, facts),
    }
    states |= {"models/model.pt": plan.classifier.cpu().state_dict(), DECISION_SCORES: scores.tensors()}
    if made.random:
        states[RANDOM_HEAD] = made.random.head
    if gate:
        states[GATE] = gate.tensors()
    return write_bundle(target, texts, states)


def _tell(
    made: Made, run: Path, record: ModelRecord, metrics: dict[str, Any], bundle: Bundle, lacking: tuple[str, ...]
) -> tuple[Path, Path]:
    notes = (*made.plan.cohort.notes, *record.policy.lines, *lacking)
    context = report_context(record, bundle, "Adaptation", notes, made.plan.cohort.left_out)
    report, result = run / "report.html", run / "result.json"
    verdict = made.verdict or _flattered(record, metrics)
    write_adapt_report(
        report, context, list(made.history), metrics, verdict, ladder=made.ladder, backbones=made.backbones
    )
    write_json(
        result,
        {
            "bundle": bundle.digest,
            "verdict": verdict,
            "measured_on": made.measured_on,
            "policy": record.policy.model_dump(mode="json"),
            "training": record.training,
            "notes": [*made.plan.cohort.notes, *lacking],
            "left_out": [{"line": line, "reason": reason} for line, reason in made.plan.cohort.left_out],
            "history": [[r.phase, r.epoch, r.train_loss, r.val_loss, r.val_auroc] for r in made.history],
            "validation": metrics,
            "ladder": made.ladder,
            "backbones": made.backbones,
        },
    )
    return report, result


def _flattered(record: ModelRecord, metrics: dict[str, Any]) -> str:
    return (
        f"Adapted {record.backbone} by {record.config.strategy}: macro AUROC {metrics['macro']['auroc']['value']:.3f} "
        f"on {metrics['n']} validation scans. These rows chose the epoch, the temperature and the thresholds, so the "
        "figure flatters; run scanshift validate on test rows before trusting it."
    )


def _tell_refusal(made: Made, run: Path) -> tuple[Path, Path]:
    """The report and result.json of a run that gives no model."""
    plan = made.plan
    report, result = run / "report.html", run / "result.json"
    verdict = f"Refused: {made.refusal}."
    context = refusal_context(
        plan.config,
        plan.cohort.notes,
        plan.cohort.left_out,
        weights=plan.weights["origin"],
        splits=plan.counts(),
    )
    write_adapt_report(report, context, list(made.history), None, verdict, ladder=made.ladder, backbones=made.backbones)
    write_json(
        result,
        {
            "bundle": None,
            "verdict": verdict,
            "training": plan.counts(),
            "notes": list(plan.cohort.notes),
            "left_out": [{"line": line, "reason": reason} for line, reason in plan.cohort.left_out],
            "ladder": made.ladder,
            "backbones": made.backbones,
        },
    )
    return report, result
