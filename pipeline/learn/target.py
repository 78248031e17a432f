"""The target's scans in a training run: what alignment compares with, and whether it may be done at all."""

from collections.abc import Sequence

import torch

from models.alignment import LOSSES, OPERATIONS
from pipeline.config import Config
from pipeline.errors import CohortError
from pipeline.learn.align import AlignmentTerm, align_statistics, make_term
from pipeline.learn.align_guard import check_label_shift
from pipeline.learn.ladder.probe import Probe, fit_probe
from pipeline.learn.ladder.problem import mean_features
from pipeline.learn.plan import Plan
from pipeline.learn.sets import UnlabelledSet
from pipeline.learn.test_time import adapt_test_time
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, targets
from pipeline.shift.domain import Domain
from pipeline.shift.kind import KindOfShift
from pipeline.shift.label_shift import LabelShift
from pipeline.shift.measure import measure_shift
from pipeline.watch import Watch


def target_set(plan: Plan, store: SampleStore) -> UnlabelledSet | None:
    """All scans of the target sites that are not `test` rows; None where no site is named."""
    if not plan.config.target_sites:
        return None
    return UnlabelledSet(store, tuple(case.ref.key for case in plan.cohort.of_sites(plan.config.target_sites)))


def alignment_term(plan: Plan) -> AlignmentTerm | None:
    """The loss that `align` names; None where it names none, or an operation."""
    if plan.config.align not in LOSSES:
        return None
    features, classes = plan.classifier.backbone.num_features, len(plan.cohort.classes)
    return make_term(plan.config.align, features, classes, plan.config.align_weight, plan.config.seed)


def guard(plan: Plan, store: SampleStore, watch: Watch) -> tuple[tuple[str, ...], LabelShift | None]:
    """Look for label shift before alignment or test-time adaptation, by a probe on the frozen backbone.

    Returns:
        Warnings for the report, and what was found of the class mix.

    Raises:
        RefusedError: If alignment would align one class mix to another.
    """
    config = plan.config
    if config.align == "none" and config.test_time == "none":
        return (), None
    source = [case for case in plan.cohort.cases if case.labels and case.site not in config.target_sites]
    fit, held = ([case for case in source if case.split == side] for side in ("train", "val"))
    check_source(fit, held, config)
    target = plan.cohort.of_sites(config.target_sites)
    features = [_features(plan, store, cases, watch) for cases in (fit, held, target)]
    truth = torch.from_numpy(targets(fit, plan.cohort.classes)).float()
    probe = fit_probe(features[0], truth, plan.classifier.backbone.widths, config.task)
    reference = domain(probe, features[1], held, plan.cohort.classes)
    found = measure_shift(reference, domain(probe, features[2], target, None), seed=config.seed, task=config.task)
    if config.align == "none":
        return (), found.prevalence
    covariate = _covariate(found.kind) or (found.prevalence is not None and not found.prevalence.mixture.fits)
    return check_label_shift(config.align, found.prevalence, covariate=covariate), found.prevalence


def check_source(fit: Sequence[Case], held: Sequence[Case], config: Config) -> None:
    """Refuse alignment and test-time adaptation without a source whose scans and classes the target's compare with.

    Raises:
        CohortError: If rows outside target_sites lack a side, or the training side has one class only.
    """
    asked = f"align={config.align}" if config.align != "none" else f"test_time={config.test_time}"
    for side, cases in (("train", fit), ("val", held)):
        if not cases:
            raise CohortError(
                f"{asked}: no labelled {side} row lies outside target_sites; there is no source to compare with"
            )
    if len({label for case in fit for label in case.labels}) < 2:
        raise CohortError(f"{asked}: the train rows outside target_sites have one class only; two are needed")


def _covariate(found: KindOfShift) -> bool:
    """Whether the images themselves shift, or may: where the kind could not be told, nothing is ruled out."""
    return found.kind in ("covariate", "both", None)


def domain(probe: Probe, features: torch.Tensor, cases: list[Case], classes: tuple[str, ...] | None) -> Domain:
    """One side as the shift tests take it: standardised features and the probe's logits.

    Args:
        classes: Where given, the cases' labels go along.
    """
    return Domain(
        features=((features - probe.mean) / probe.std).numpy(),
        logits=probe.logits(features).numpy(),
        truth=None if classes is None else targets(cases, classes),
        patients=tuple(case.patient for case in cases),
    )


def _features(plan: Plan, store: SampleStore, cases: list[Case], watch: Watch) -> torch.Tensor:
    contents = [case.ref.key for case in cases]
    return mean_features(
        plan.classifier, store, contents, plan.device, plan.config.precision, watch.bar("features", len(contents))
    )


def adapt_to_target(
    plan: Plan, store: SampleStore, unlabelled: UnlabelledSet | None, prevalence: LabelShift | None, watch: Watch
) -> tuple[str, ...]:
    """What follows training: statistics of the target's scans, and test-time adaptation, where they are asked for.

    Returns:
        Notes for the report.
    """
    config = plan.config
    notes: list[str] = []
    if unlabelled is not None and config.align in OPERATIONS:
        notes += align_statistics(
            config.align,
            plan.classifier,
            store,
            unlabelled.contents,
            device=plan.device,
            seed=config.seed,
            precision=config.precision,
        )
        notes.append(f"{config.align}: statistics are those of {len(unlabelled.contents)} target scans")
    if unlabelled is not None and config.test_time != "none":
        found = adapt_test_time(
            config.test_time,
            plan.classifier,
            store,
            unlabelled.contents,
            device=plan.device,
            seed=config.seed,
            task=config.task,
            prevalence=prevalence,
            precision=config.precision,
            watch=watch,
        )
        notes += found.notes
    return tuple(notes)
