"""What a ladder's end allows one to claim, and when nothing may be claimed."""

from dataclasses import dataclass

from pipeline.learn.ladder.climb import LEAST_LABELS, Climb
from pipeline.learn.ladder.trial import LOST_AGREEMENT
from pipeline.shift.labels_needed import LabelsNeeded
from pipeline.shift.measure import ShiftReport


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict.

    Attributes:
        refusal: Why no model is given; empty where one is.
        repaired: Whether the target's scans were brought to where the source's labels can be trusted.
        sentence: For the report's head.
    """

    refusal: str
    repaired: bool
    sentence: str


def judge(found: Climb, shift: ShiftReport | None, *, shifted: bool, wanting: str) -> Judgement:
    """Judge the rung that the ladder ended on.

    With target labels that can judge, their held-out AUROC is the claim. Without, a model from another hospital is
    given only if no shift was shown, or if its views agree on the target as they do on held source scans treated alike:
    within 0.1 of the rank correlation. Views that agree at home and part on the target do not see there what they
    were taught.

    Args:
        shift: What was measured between the sides; None where there is no source.
        shifted: Whether the shift test rejected.
        wanting: Why target labels could not judge; empty where they did.
    """
    trial = found.trial
    low, high = trial.evidence.interval
    if not wanting:
        shown = "" if low > 0.5 else "; not shown to be better than chance"
        source = " The source's labels hurt here and were dropped." if found.hurt and not trial.uses_source else ""
        return Judgement(
            "",
            True,
            f"Kept: {found.kept}. Held-out AUROC {trial.evidence.value:.3f} (95 % interval {low:.3f} to {high:.3f}) on "
            f"labelled target scans{shown}.{source}",
        )
    if not shifted or trial.agreement is None or trial.kept_agreement is None:
        return Judgement(
            "",
            False,
            f"Kept: {found.kept}. No shift was shown between source and target, which does not prove that there is "
            f"none; accuracy on the target was not measured: {wanting}.",
        )
    told = f"{trial.agreement.value:.2f} on the target's scans, {trial.kept_agreement.value:.2f} on held source scans"
    if trial.lost is not None and trial.lost <= LOST_AGREEMENT:
        return Judgement(
            "",
            True,
            f"Kept: {found.kept}. {_difference(shift).capitalize()}, and heads on different features still rank them "
            f"alike (agreement {told}); accuracy on the target was not measured: {wanting}.",
        )
    return Judgement(
        f"{_difference(shift)}, and nothing tried here makes a model trained on the source's labels trustworthy on "
        f"them: its accuracy there cannot be estimated. {_labels(shift)}. Seen: "
        f"{wanting}; heads on different features no longer rank the target's scans alike (agreement {told})",
        False,
        "",
    )


def _difference(shift: ShiftReport | None) -> str:
    """What was seen of the images; too few for a test count as different, since nothing speaks for the contrary."""
    if shift is not None and shift.test is None:
        return f"whether the target's scans look different could not be tested ({shift.test_reason})"
    return "the target's scans look different from the source's"


def _labels(shift: ShiftReport | None) -> str:
    """How many labels to bring, in words."""
    for_learning: list[LabelsNeeded] = [
        one for one in (shift.labels_needed if shift else ()) if one.labels is not None and "learn" in one.purpose
    ]
    count = for_learning[0].labels if for_learning else None
    enough = max(count or 0, 50)
    least = f"{LEAST_LABELS} are the least that can judge a model"
    return f"Bring about {enough} labelled target scans of all classes; {least}"
