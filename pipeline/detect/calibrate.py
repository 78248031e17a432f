"""Which held-out normals a detector's scores are ranked among, and whether that can be trusted at the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.decide.conformal import Floats, conformal_scale, patients_needed
from pipeline.decide.decision_scores import ABNORMAL, NORMAL, UNLABELLED
from pipeline.decide.policy import Policy
from pipeline.decide.pool import LEAST_POOL, LEAST_SHARE, share_normal
from pipeline.detect.checks import normals_of
from pipeline.detect.scan_detector import ScanDetector
from pipeline.evaluate.promise import Promise
from pipeline.learn.leakage import training_sets_of
from pipeline.learn.plan import Plan
from pipeline.model_record import ModelRecord
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.watch import Watch

LEAST_TARGET_NORMALS = 19  # what a false-alarm rate of 5 % needs


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Scans that the detector was not fitted on, with their raw scores.

    Attributes:
        cases: n scans: normals, abnormal ones, unlabelled ones.
        raw: Raw scores, shape (n,).
        side: Shape (n,): 0 normal, 1 abnormal, -1 unlabelled.
        site: Whose normals these are, where they are a target's own; else empty.
    """

    cases: tuple[Case, ...]
    raw: Floats
    side: Floats
    site: str

    def of(self, *sides: int) -> tuple[list[Case], Floats]:
        """Cases and raw scores of some sides."""
        here = np.isin(self.side, sides)
        return [case for case, own in zip(self.cases, here, strict=True) if own], self.raw[here]


def held_out(plan: Plan, rule: Policy) -> tuple[list[Case], str]:
    """The scans to calibrate and measure on: the target's own where it has enough labelled normals, else `val` rows.

    The target's may be of any side but `test`: the detector is fitted on no scan of a target site.

    Returns:
        Scans, none of a patient whom the detector, or the bundle that its network is of, was fitted on; and whose they
        are, where they are the target's.
    """
    cohort, sites = plan.cohort, plan.config.target_sites
    there = unseen(plan, cohort.of_sites(sites)) if sites else []
    normals = {case.patient for case in there if case.labels == cohort.classes[:1]}
    if len(normals) >= _target_normals(rule):
        return there, ", ".join(sites)
    unlabelled = [c for c in cohort.cases if not c.labels and c.split != "test" and c.site not in sites]
    return unseen(plan, [*(case for case in cohort.side("val") if case.site not in sites), *unlabelled]), ""


def unseen(plan: Plan, cases: Sequence[Case]) -> list[Case]:
    """Those of whose patients, and whose like, nothing was fitted on: their scores would be too low."""
    fitted = fitted_on(plan)
    patients, contents = {case.patient for case in fitted}, {case.ref.key for case in fitted}
    parents = training_sets_of(plan.config.weights)
    return [
        case
        for case in cases
        if case.patient not in patients
        and case.ref.key not in contents
        and not any(parent.saw(case) for parent in parents)
    ]


def _target_normals(rule: Policy) -> int:
    """Normal patients of a target from which scores are ranked among its own."""
    return max(LEAST_TARGET_NORMALS, patients_needed(rule.amount) if rule.kind == "false_alarm" else 0)


def score_held(
    model: ScanDetector, store: SampleStore, cases: Sequence[Case], site: str, normal: str, watch: Watch
) -> Held:
    """Score them."""
    bar = watch.bar("scoring held-out scans", len(cases))
    raw = model.raw_scores(store, [case.ref.key for case in cases], bar)
    side = [UNLABELLED if not c.labels else NORMAL if c.labels == (normal,) else ABNORMAL for c in cases]
    return Held(tuple(cases), raw, np.array(side, np.float64), site)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Whether a detector calibrated elsewhere may be used on a target.

    Attributes:
        refusal: Why not; empty where nothing speaks against it.
        share: Share of the target's scans that could be normal: `value`, `low`, `high`; empty where not measured.
        notes: What a reader must know.
    """

    refusal: str = ""
    share: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def doubt_of_target(
    model: ScanDetector, store: SampleStore, plan: Plan, held: Held, rule: Policy, watch: Watch
) -> Doubt:
    """Look at the target's scans, with or without labels, through a detector that was calibrated elsewhere.

    Nearly all conformal p-values above one half belong to scans that look like the calibration's normals. Where hardly
    any scan of the target does, either nearly all of them are abnormal or they are another kind of picture; both
    would be called abnormal alike. No site's name and no label goes into it.
    """
    sites = plan.config.target_sites
    if not sites or held.site:
        return Doubt()
    pool = unseen(plan, plan.cohort.of_sites(sites))
    if len(pool) < LEAST_POOL:
        return Doubt(notes=(f"{len(pool)} scans of the target: too few to say whether any looks normal",))
    bar = watch.bar("scoring the target's scans", len(pool))
    raw = model.raw_scores(store, [case.ref.key for case in pool], bar)
    normals, scores = held.of(NORMAL)
    value, low, high = share_normal(conformal_scale(scores, _numbers(normals)).p_value(raw))
    share = {"value": value, "low": low, "high": high}
    told = f"{value:.0%} of the target's scans could be normal by what normals elsewhere look like"
    told += f" (95 % interval {low:.0%} to {high:.0%})"
    if high >= LEAST_SHARE:
        return Doubt(
            "", share, ("the false-alarm rate at the target was not measured: too few labelled normals there",)
        )
    here = len({case.patient for case in pool if case.labels == plan.cohort.classes[:1]})
    return Doubt(
        f"{told}, so that nearly every scan there would be called abnormal, ill or not: the scanner or the population "
        f"differs, or hardly any of them is normal. Bring normal scans of {_target_normals(rule)} patients "
        f"of the target, labelled {plan.cohort.classes[0]!r} (there are {here}): scores are then ranked among these",
        share,
    )


def fitted_on(plan: Plan) -> list[Case]:
    """Normal training scans, none of a target site."""
    return normals_of(plan.cohort, "train", but=plan.config.target_sites)


def rows_of(site: str) -> str:
    """The scans that scale and threshold were chosen on, in words."""
    return f"held-out rows of {site}" if site else "validation rows"


def promise_of(record: ModelRecord) -> Promise | None:
    """What the bundle's policy says of the false-alarm rate."""
    rule = record.policy.rule
    if rule.kind != "false_alarm" or record.detector is None:
        return None
    return Promise(rule.amount, record.detector.calibrated_on.patients)


def _numbers(cases: Sequence[Case]) -> list[int]:
    names: dict[str, int] = {}
    return [names.setdefault(case.patient, len(names)) for case in cases]
