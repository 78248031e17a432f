"""Training a plan, however it is asked for: one strategy, the ladder, or the better of two backbones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import CohortError
from pipeline.evaluate.plots import EpochRow
from pipeline.learn.backbone_choice import choose_backbone
from pipeline.learn.checkpoint import Checkpoint
from pipeline.learn.fit import Fit, LabelledSet, macro_auroc
from pipeline.learn.ladder.auto import run_ladder
from pipeline.learn.network import AUTO, weights_folder
from pipeline.learn.objective import probabilities
from pipeline.learn.plan import Plan, with_backbone
from pipeline.learn.predictions import predict_logits
from pipeline.learn.prepared import used_cases
from pipeline.learn.random_reference import FittedReference, fit_reference
from pipeline.learn.target import adapt_to_target, alignment_term, guard, target_set
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, targets
from pipeline.prepare.harmonise import fit_harmonise
from pipeline.prepare.samples import Preparation
from pipeline.shift.bcts import Calibration
from pipeline.watch import Watch
from pipeline.workspace import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A trained plan.

    Attributes:
        plan: As it was carried out; its classifier is the model, its notes tell what happened.
        store: Where its samples are.
        preparation: How the model wants scans prepared.
        cases: Labelled cases to calibrate and measure on.
        logits: On these, from a model that has not seen them, (n, L).
        calibration: Of the logits; None where a temperature is to be fitted on `cases`.
        history: Epochs of the training.
        checkpoint: To be removed once the bundle is written.
        random: The same head on random weights; None where the strategy fits none.
        tuned_on_cases: Whether the backbone of the model was trained on `cases` (their logits are of other models).
        measured_on: What `cases` are, in words.
        verdict: What may be claimed, where the strategy says so itself.
        refusal: Why no model may be given; empty where it may.
        ladder: For the report; None for other strategies.
        backbones: For the report; None where the backbone was named.
    """

    plan: Plan
    store: SampleStore
    preparation: Preparation
    cases: tuple[Case, ...]
    logits: Tensor
    calibration: Calibration | None
    history: tuple[EpochRow, ...]
    checkpoint: Checkpoint
    random: FittedReference | None = None
    tuned_on_cases: bool = False
    measured_on: str = "validation rows"
    verdict: str = ""
    refusal: str = ""
    ladder: dict[str, Any] | None = None
    backbones: dict[str, Any] | None = None

    @property
    def auroc(self) -> float:
        """Macro AUROC on `cases`."""
        truth = torch.from_numpy(targets(self.cases, self.plan.cohort.classes))
        return macro_auroc(probabilities(self.logits, self.plan.config.task), truth)


def harmonised(plan: Plan, store: SampleStore, watch: Watch) -> tuple[Plan, SampleStore]:
    """Bring all samples to the standard that `harmonise` names, learned from the source's training rows."""
    kind = plan.config.harmonise
    if kind == "none":
        return plan, store
    sites = plan.config.target_sites
    known = used_cases(plan)
    source = [case for case in known if case.split == "train" and case.labels and case.site not in sites]
    if plan.config.task == "one_class":
        source = [case for case in source if case.labels == plan.cohort.classes[:1]]
    if not source:
        raise CohortError(f"harmonise={kind}: no labelled train row lies outside target_sites to learn a standard from")
    standard = fit_harmonise(kind, (store.load(case.ref.key) for case in source))
    preparation = plan.preparation.model_copy(update={"harmonise": standard})
    brought = SampleStore(store.folder, preparation)
    brought.fill([case.ref for case in known], watch.bar("harmonising scans", len(known)))
    return replace(plan, preparation=preparation), brought


def train_best(plan: Plan, store: SampleStore, workspace: Workspace, watch: Watch) -> Made:
    """Train the plan; with `backbone: auto` the two best-measured backbones, of which the better one is kept."""
    if plan.config.backbone != AUTO:
        return _train(plan, store, workspace, watch)
    learn_from = _measured_on(plan)
    config = plan.config
    choice = choose_backbone(
        _labelled(plan, store, learn_from),
        [case.patient for case in learn_from],
        config=config.model_copy(update={"backbone": f"{AUTO}@all"}) if config.strategy == AUTO else config,
        device=plan.device,
        watch=watch,
        folder=weights_folder(),
    )
    names = [choice.first.backbone, *([choice.second.backbone] if choice.second else [])]
    if config.strategy == AUTO:
        half = config.model_copy(update={"time_budget": config.time_budget / len(names)})
        plan = replace(plan, config=half)
    best: Made | None = None
    for name in names:
        made = _train(with_backbone(plan, name), store, workspace, watch)
        watch.note(f"backbone {name}: AUROC {made.auroc:.4f} on held-out scans")
        if best is None or (bool(best.refusal), -best.auroc) > (bool(made.refusal), -made.auroc):
            best = made
    if best is None:
        raise RuntimeError("no backbone was trained")
    config = best.plan.config.model_copy(update={"time_budget": config.time_budget})
    return replace(best, plan=replace(best.plan, config=config), backbones=choice.to_json())


def _measured_on(plan: Plan) -> list[Case]:
    """Labelled training rows of the target where there are enough, else of the source."""
    known = [case for case in plan.cohort.cases if case.labels and case.split == "train"]
    there = [case for case in plan.cohort.of_sites(plan.config.target_sites) if case.labels]
    enough = {name: {c.patient for c in there if name in c.labels} for name in plan.cohort.classes}
    return there if there and min(len(patients) for patients in enough.values()) >= 10 else known


def _train(plan: Plan, store: SampleStore, workspace: Workspace, watch: Watch) -> Made:
    checkpoint = Checkpoint(workspace.cache / "training" / f"{plan.digest()}.pt")
    if plan.config.strategy == AUTO:
        return _climb(plan, store, checkpoint, watch)
    train, val = (_labelled(plan, store, plan.cohort.side(side)) for side in ("train", "val"))
    warnings, prevalence = guard(plan, store, watch)
    unlabelled = target_set(plan, store)
    fit = Fit(
        plan.classifier,
        train=train,
        val=val,
        config=plan.config,
        device=plan.device,
        checkpoint=checkpoint,
        watch=watch,
        target=unlabelled,
        term=alignment_term(plan),
    )
    history = fit.run(plan.phases)
    after = adapt_to_target(plan, store, unlabelled, prevalence, watch)
    random = fit_reference(plan, train, val, checkpoint.beside("random"), watch)
    cases = tuple(plan.cohort.side("val"))
    title = "validation rows"
    logits = predict_logits(plan.classifier, store, cases, device=plan.device, watch=watch, title=title)
    plan = plan.with_notes(*warnings, *fit.notes, *after)
    return Made(plan, store, plan.preparation, cases, logits, None, tuple(history), checkpoint, random)


def _climb(plan: Plan, store: SampleStore, checkpoint: Checkpoint, watch: Watch) -> Made:
    found = run_ladder(plan, store, checkpoint.path, watch)
    return Made(
        plan.with_notes(*found.notes),
        store,
        found.preparation,
        found.cases,
        found.logits,
        found.calibration,
        (),
        checkpoint,
        tuned_on_cases=found.tuned_on_cases,
        measured_on=found.measured_on,
        verdict=found.judgement.sentence,
        refusal=found.judgement.refusal,
        ladder=found.to_json(),
    )


def _labelled(plan: Plan, store: SampleStore, cases: Sequence[Case]) -> LabelledSet:
    indicators = torch.from_numpy(targets(cases, plan.cohort.classes)).float()
    return LabelledSet(store, tuple(case.ref.key for case in cases), indicators)
