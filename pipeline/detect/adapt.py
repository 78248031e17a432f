"""Adaptation for `one_class`: fit a detector on normals, rank its scores among others, choose the threshold, write."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.bundle import NETWORK, SETTINGS, Bundle, write_bundle
from models.bundle import check_target as check_target_folder
from pipeline.card.render import bundle_texts
from pipeline.config import dump_config
from pipeline.decide.choose import Choice, choose
from pipeline.decide.conformal import conformal_scale, patients_needed
from pipeline.decide.decision_scores import ABNORMAL, NORMAL, DecisionScores, decision_scores
from pipeline.decide.decision_scores import TENSORS as DECISION_SCORES
from pipeline.decide.policy import Policy, configured_policy
from pipeline.detect.calibrate import (
    Doubt,
    Held,
    doubt_of_target,
    fitted_on,
    held_out,
    promise_of,
    rows_of,
    score_held,
    unseen,
)
from pipeline.detect.choose import Chosen, Scans, choose_detector
from pipeline.detect.fit import stages_of
from pipeline.detect.record import Counted, DetectorRecord
from pipeline.detect.scan_detector import raw_threshold
from pipeline.detect.tell import tell, tell_refusal, verdict_of
from pipeline.errors import PolicyError, RefusedError
from pipeline.evaluate.measure import measure
from pipeline.evaluate.predictions import PredictionTable
from pipeline.evaluate.report import per_class_rows
from pipeline.gate.fit import fit_gate
from pipeline.gate.gate import TENSORS as GATE
from pipeline.gate.gate import Gate
from pipeline.gate.header_ranges import fit_header_ranges
from pipeline.gate.header_record import HeaderRanges
from pipeline.learn.adapt_result import AdaptResult
from pipeline.learn.card_facts import card_facts
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import training_set, training_sets_of
from pipeline.learn.plan import Plan
from pipeline.learn.predictions import ANOMALY, detection_table
from pipeline.learn.prepared import prepared, used_cases
from pipeline.learn.train import harmonised
from pipeline.model_record import FORMAT, ModelRecord
from pipeline.prepare.cache import SampleStore, trim
from pipeline.prepare.cohort import Case
from pipeline.provenance import versions
from pipeline.watch import Watch
from pipeline.workspace import Workspace, whole_file


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A detector that was fitted and calibrated.

    Attributes:
        chosen: The detector, and why this one.
        about: What the bundle says of it.
        held: Scans that it was not fitted on.
        scores: Their scores, as the bundle keeps them.
        choice: Threshold and policy.
    """

    chosen: Chosen
    about: DetectorRecord
    held: Held
    scores: DecisionScores
    choice: Choice


def adapt_detector(plan: Plan, workspace: Workspace, target: Path, run: Path, watch: Watch) -> AdaptResult:
    """Carry out a plan of task `one_class`; as `pipeline.learn.adapt.adapt`, which calls it.

    Raises:
        CohortError, DetectorError, PolicyError: If the normals are too few, or all alike.
        BundleError: If `target` holds something else.
        RefusedError: If hardly any scan of the target looks normal; report and result.json are written all the same.
    """
    check_target_folder(target)
    with whole_file(run / "config.yaml") as file:
        file.write(dump_config(plan.config))
    with whole_file(run / "environment.txt") as file:
        file.writelines(f"{name} {value}\n" for name, value in versions().items())
    config = plan.config
    stages_of(plan.classifier.backbone, config)  # an unknown stage is told before anything long
    rule = configured_policy(config.policy, config.task, config.sensitivity_target)
    store = SampleStore(workspace.cache, plan.preparation)
    plan = prepared(plan, store, watch)
    plan, store = harmonised(plan, store, watch)
    cases, site = held_out(plan, rule)
    _require_normals(plan, cases, rule)
    chosen = choose_detector(
        plan.classifier.backbone, store, _scans(plan, cases), config=config, device=plan.device, watch=watch
    )
    model = chosen.fitted.model
    held = score_held(model, store, cases, site, plan.cohort.classes[0], watch)
    doubt = doubt_of_target(model, store, plan, held, rule, watch)
    gate, lacking = _gate(plan, chosen, store, watch)
    headers, uncompared = fit_header_ranges(used_cases(plan), seed=config.seed, watch=watch)
    about = _about(plan, chosen, held, doubt, (*lacking, *uncompared))
    if doubt.refusal:
        report = tell_refusal(plan, run, about, chosen.screened.doubtful, doubt.refusal)
        raise RefusedError(f"{doubt.refusal}; report: {report}")
    found = _decide(plan, chosen, held, about, rule)
    record = _record(plan, found, gate, headers)
    table, metrics = _measure(plan, found, record, workspace)
    bundle = _write(plan, store, target, found, record, gate, metrics)
    verdict = verdict_of(record, metrics)
    report, result = tell(plan, run, record, chosen.screened.doubtful, table, metrics, bundle, verdict)
    trim(workspace.cache, keep=(workspace.cache / "training").glob("*"))
    return AdaptResult(
        target,
        bundle.digest,
        report,
        result,
        verdict,
        metrics["macro"]["auroc"]["value"],
        len(plan.cohort.left_out),
        per_class_rows(metrics),
    )


def _require_normals(plan: Plan, cases: Sequence[Case], rule: Policy) -> None:
    """Refuse too few held-out normals before anything is fitted."""
    if rule.kind != "false_alarm":
        return
    normal = plan.cohort.classes[:1]
    patients = len({case.patient for case in cases if case.labels == normal})
    needed = patients_needed(rule.amount)
    if patients < needed:
        raise PolicyError(
            f"policy {rule.text}: {patients} normal patients in val, at least {needed} are needed for its guarantee; "
            f"bring more normals, state more rows as val, or set policy=false_alarm={_reachable(patients)}"
        )


def _reachable(patients: int) -> str:
    """The lowest false-alarm rate that some patients can guarantee, rounded up."""
    return f"{math.ceil(1000 / (patients + 1)) / 1000:g}"


def _scans(plan: Plan, cases: Sequence[Case]) -> Scans:
    normal = plan.cohort.classes[:1]
    return Scans(
        normals=fitted_on(plan),
        held=[case for case in cases if case.labels == normal],
        pool=[case for case in cases if not case.labels],
    )


def _gate(plan: Plan, chosen: Chosen, store: SampleStore, watch: Watch) -> tuple[Gate | None, tuple[str, ...]]:
    """What says which scans are of another kind, or a note on why nothing does."""
    detector = chosen.fitted.model.detector
    return fit_gate(
        detector.backbone,
        detector.pooled_first,
        store,
        used_cases(plan),
        last=detector.stages[-1],
        seed=plan.config.seed,
        device=plan.device,
        watch=watch,
    )


def _about(plan: Plan, chosen: Chosen, held: Held, doubt: Doubt, lacking: tuple[str, ...]) -> DetectorRecord:
    model = chosen.fitted.model
    return DetectorRecord(
        name=chosen.name,
        backbone=plan.classifier.backbone.name,
        stages=model.detector.stages,
        reduced=model.detector.reduced,
        top_share=model.top_share,
        placed=model.profile is not None,
        chosen_by=chosen.reason,
        candidates=chosen.candidates,
        fitted_on=_counted(chosen.screened.kept),
        left_out=_counted(chosen.screened.doubtful) if chosen.screened.doubtful else None,
        calibrated_on=_counted(held.of(NORMAL)[0], held.site),
        recalibrated=bool(held.site),
        share_normal=dict(doubt.share),
        notes=(*chosen.screened.notes, *chosen.fitted.notes, *_left_out(plan, held), *doubt.notes, *lacking),
    )


def _counted(cases: Sequence[Case], site: str = "") -> Counted:
    return Counted(scans=len(cases), patients=len({case.patient for case in cases}), site=site)


def _left_out(plan: Plan, held: Held) -> list[str]:
    """How many scans are no fair sample, since a network has seen their patients."""
    sites = plan.config.target_sites
    others = [case for case in plan.cohort.cases if case.split != "test" and case.site not in sites]
    side = [case for case in others if case.split == "val" or not case.labels]
    if held.site:
        side = plan.cohort.of_sites(sites)
    count = len(side) - len(unseen(plan, side))
    return [f"{count} scans were not calibrated or compared on: their patients were fitted on"] if count else []


def _decide(plan: Plan, chosen: Chosen, held: Held, about: DetectorRecord, rule: Policy) -> Detection:
    patients = [case.patient for case in held.cases]
    scores = decision_scores(held.raw, held.side, patients, seed=plan.config.seed)
    choice = choose(rule, scores, measured_on=rows_of(held.site), raw=True)
    return Detection(chosen, about, held, scores, choice)


def _record(plan: Plan, found: Detection, gate: Gate | None, headers: HeaderRanges | None) -> ModelRecord:
    return ModelRecord(
        format=FORMAT,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=(plan.cohort.classes[0], ANOMALY),
        task="one_class",
        backbone=plan.classifier.backbone.name,
        variant=plan.classifier.backbone.variant,
        pooling="mean",
        preparation=plan.preparation,
        temperature=1.0,
        thresholds={ANOMALY: found.choice.threshold},
        anomaly_threshold=found.choice.threshold,
        policy=found.choice.record,
        weights=plan.weights,
        training=plan.counts(),
        random_reference=None,
        detector=found.about,
        gate=gate.record if gate else None,
        headers=headers,
        config=plan.config,
    )


def _measure(
    plan: Plan, found: Detection, record: ModelRecord, workspace: Workspace
) -> tuple[PredictionTable, dict[str, Any]]:
    """The held-out labelled scans, on which scale and threshold were chosen, and what they say."""
    cases, raw = found.held.of(NORMAL, ABNORMAL)
    scale = conformal_scale(*found.scores.of(NORMAL))
    called = raw >= raw_threshold(record)
    table = detection_table(cases, raw, scale, called, workspace.key(), normal=plan.cohort.classes[0])
    metrics = measure(
        table, record.thresholds, record.anomaly_threshold, promise=promise_of(record), seed=plan.config.seed
    )
    return table, metrics


def _write(
    plan: Plan,
    store: SampleStore,
    target: Path,
    found: Detection,
    record: ModelRecord,
    gate: Gate | None,
    metrics: dict[str, Any],
) -> Bundle:
    seen = training_set(used_cases(plan), training_sets_of(plan.config.weights), store)
    texts = {
        SETTINGS: record.to_yaml(),
        TRAINING_SET: seen.to_json(),
        **bundle_texts(record, card_facts(plan, metrics)),
    }
    states = {NETWORK: found.chosen.fitted.model.state(), DECISION_SCORES: found.scores.tensors()}
    if gate:
        states[GATE] = gate.tensors()
    return write_bundle(target, texts, states)
