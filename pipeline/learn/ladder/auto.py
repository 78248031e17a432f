"""`strategy: auto` for a plan: what is known, the climb, the verdict, and the model that came of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from models.classifier import SliceBagClassifier
from pipeline.learn.ladder.climb import Climb, Row, climb, unusable
from pipeline.learn.ladder.probe import fit_probe
from pipeline.learn.ladder.problem import Problem, Side, labelled_side
from pipeline.learn.ladder.trial import Trial
from pipeline.learn.ladder.verdict import Judgement, judge
from pipeline.learn.plan import Plan
from pipeline.learn.target import domain
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.prepare.samples import Preparation
from pipeline.shift.bcts import Calibration, fit_bcts
from pipeline.shift.measure import ShiftReport, measure_shift
from pipeline.watch import Watch

LEAST_SHARE = 1e-3
HELD_SOURCE = "held-out source scans"
LABELLED_TARGET = "labelled target scans"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a ladder made of a plan.

    Attributes:
        judgement: The verdict.
        climb: The rungs.
        shift: What was measured between source and target; None where the target stands alone.
        classifier: The model.
        preparation: How it wants scans prepared.
        cases: Labelled cases that its logits below are of: the target's, or held source cases without target labels.
        logits: On these cases, from models that have not seen their patients, (n, L).
        calibration: For the target's class mix, where nothing else differs; None where it is to be fitted on `logits`.
        notes: For the report.
    """

    judgement: Judgement
    climb: Climb
    shift: ShiftReport | None
    classifier: SliceBagClassifier
    preparation: Preparation
    cases: tuple[Case, ...]
    logits: Tensor
    calibration: Calibration | None
    notes: tuple[str, ...]

    @property
    def measured_on(self) -> str:
        """Whose scans `cases` are, in words."""
        return HELD_SOURCE if self.climb.trial.target_logits is None else LABELLED_TARGET

    @property
    def tuned_on_cases(self) -> bool:
        """Whether the backbone was trained on `cases`: its features of them are then not those of new scans."""
        trial = self.climb.trial
        return trial.held is None and any(name.startswith("backbone.") for name in trial.model)

    def to_json(self) -> dict[str, Any]:
        """For result.json and the report."""
        return {
            "kept": self.climb.kept,
            "measured_on": self.measured_on,
            "refusal": self.judgement.refusal,
            "rungs": [row.to_json() for row in self.climb.rows],
            "shift": None if self.shift is None else self.shift.to_json(),
        }


def run_ladder(plan: Plan, store: SampleStore, checkpoints: Path, watch: Watch) -> Outcome:
    """Climb for a plan whose samples are in the store.

    Args:
        checkpoints: Stem of files from which rungs that train go on after a kill.
    """
    started = time.monotonic()
    sides = _Cases(plan)
    wanting = unusable(_side(sides.labelled, plan))
    problem = _problem(plan, store, watch, sides, use_labels=not wanting)
    shift = _measure(problem, sides) if sides.source_fit else None
    shifted = shift is not None and (shift.test is None or shift.test.rejected)
    left = plan.config.time_budget * 60 - (time.monotonic() - started)
    found = climb(problem, shifted=shifted, checkpoints=checkpoints, seconds=left)
    judgement = judge(found, shift, shifted=shifted, wanting=wanting)
    trial = found.trial
    classifier = plan.classifier
    classifier.load_state_dict(dict(trial.model), strict=False)
    cases, logits = sides.labelled, trial.target_logits
    if logits is None:
        cases, logits = _held_cases(sides, trial), trial.held_logits
    if logits is None:
        raise RuntimeError(f"rung {trial.name} left no held-out logits")
    calibration = _for_class_mix(trial, shift) if wanting and not judgement.refusal else None
    found.rows.append(_recalibration(calibration is not None, shift, wanting))
    return Outcome(
        judgement=judgement,
        climb=found,
        shift=shift,
        classifier=classifier.eval(),
        preparation=trial.preparation or plan.preparation,
        cases=tuple(cases),
        logits=logits,
        calibration=calibration,
        notes=_notes(sides, wanting),
    )


def _recalibration(done: bool, shift: ShiftReport | None, wanting: str) -> Row:
    """What became of the rung that moves no scan past another: probabilities for the target's mix of classes."""
    if not wanting:
        decision = "not needed: probabilities are calibrated on the target's own labels"
    elif done and shift is not None and shift.prevalence is not None:
        shares = ", ".join("–" if n.value is None else f"{n.value:.2f}" for n in shift.prevalence.target)
        decision = f"kept: only the mix of classes differs; estimated shares {shares}"
    else:
        decision = "not done: it holds only where nothing but the mix of classes differs, which was not shown"
    return Row("recalibrate", "probabilities for the target's mix of classes (BCTS, MLLS)", decision=decision)


class _Cases:
    """Who is on which side."""

    def __init__(self, plan: Plan) -> None:
        sites = plan.config.target_sites
        known = [case for case in plan.cohort.cases if case.labels and case.split != "test"]
        self.target = plan.cohort.of_sites(sites) if sites else known
        self.labelled = [case for case in self.target if case.labels]
        source = [case for case in known if case.site not in sites] if sites else []
        self.source_fit = [case for case in source if case.split == "train"]
        self.source_held = [case for case in source if case.split == "val"]


def _problem(plan: Plan, store: SampleStore, watch: Watch, sides: _Cases, *, use_labels: bool) -> Problem:
    return Problem(
        classifier=plan.classifier,
        store=store,
        source=_side(sides.source_fit, plan),
        held=_side(sides.source_held, plan),
        target=_side(sides.labelled, plan) if use_labels else None,
        unlabelled=tuple(case.ref.key for case in sides.target),
        patients=tuple(case.patient for case in sides.target),
        config=plan.config,
        device=plan.device,
        watch=watch,
    )


def _side(cases: Sequence[Case], plan: Plan) -> Side | None:
    return labelled_side(cases, plan.cohort.classes)


def _measure(problem: Problem, sides: _Cases) -> ShiftReport:
    """Held source scans against all target scans, through a probe fitted on the other source scans."""
    if problem.source is None or problem.held is None:
        raise RuntimeError("no source to compare the target with")
    features = problem.features(problem.source.contents, "source features")
    probe = fit_probe(features, problem.source.targets, problem.widths, problem.config.task)
    held = problem.features(problem.held.contents, "source features, held out")
    target = problem.features(problem.unlabelled, "target features")
    reference = domain(probe, held, sides.source_held, None)
    reference = replace(reference, truth=problem.held.targets.numpy().astype(np.int8))
    incoming = domain(probe, target, sides.target, None)
    problem.watch.note(f"measuring the shift: {len(held)} held source scans, {len(target)} target scans")
    return measure_shift(reference, incoming, seed=problem.config.seed, task=problem.config.task)


def _held_cases(sides: _Cases, trial: Trial) -> list[Case]:
    """The held source cases that a rung's logits are of: it may have taken some of them only."""
    by_content = {case.ref.key: case for case in sides.source_held}
    return [by_content[content] for content in trial.held.contents] if trial.held else []


def _for_class_mix(trial: Trial, shift: ShiftReport | None) -> Calibration | None:
    """Probabilities for the target's class mix, where only that differs: softmax(z / T + b + log(q_t / q_s)).

    T and b make the probabilities of held source scans honest at their own class mix q_s: heads are fitted with
    classes that count alike, so their logits by themselves are for a mix that is nobody's. q_t is the estimate.

    Source:
        Saerens et al. 2002, Adjusting the Outputs of a Classifier to New a Priori Probabilities, eq. 2.4.
    """
    if shift is None or shift.prevalence is None or trial.held is None or trial.held_logits is None:
        return None
    if shift.kind.kind != "prevalence" or not shift.prevalence.detected:
        return None
    truth = trial.held.targets.numpy()
    honest = fit_bcts(trial.held_logits.numpy(), truth)
    here = truth.mean(axis=0)
    there = np.array([number.value or 0.0 for number in shift.prevalence.target])
    bias = np.array(honest.bias) + np.log(there.clip(min=LEAST_SHARE) / here.clip(min=LEAST_SHARE))
    return Calibration(honest.temperature, tuple(float(b) for b in bias))


def _notes(sides: _Cases, wanting: str) -> tuple[str, ...]:
    if not wanting or not sides.labelled:
        return ()
    return (f"target labels were not used: {wanting}",)
