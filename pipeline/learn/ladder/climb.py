"""Climbing the ladder: the cheapest rung first, each kept only if the target's evidence says so beyond its noise."""

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import OutOfTimeError
from pipeline.learn.ladder.problem import Problem, Side
from pipeline.learn.ladder.rungs import HURT, Rung, rungs
from pipeline.learn.ladder.trial import LOST_AGREEMENT, Trial
from pipeline.learn.ladder.tuned_rungs import Tuner

LEAST_LABELS = 20
LEAST_PATIENTS = 5
CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """What the report tells of a rung.

    Attributes:
        name, what: Of the rung.
        measure: `AUROC` on held-out target labels, or `agreement` without labels; empty where not tried.
        value, low, high: The measure with its 95 % interval.
        gain, gain_low: Against the rung kept before, with its lower 95 % limit (one-sided); of agreement, what is lost
            against held source scans counts.
        held: Agreement on held source scans, to compare with that on the target.
        decision: What became of it, and why.
        kept: Whether the ladder stood on it afterwards.
        seconds: What it took.
    """

    name: str
    what: str
    measure: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    held: float | None = None
    decision: str = ""
    kept: bool = False
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For result.json and the report."""
        return asdict(self)


@dataclass(slots=True)
class Climb:
    """A ladder that was climbed.

    Attributes:
        rows: Every rung, in the order in which they were judged.
        trials: All that were carried out, by name.
        kept: Name of the rung that it ended on.
    """

    rows: list[Row] = field(default_factory=list)
    trials: dict[str, Trial] = field(default_factory=dict)
    kept: str = ""

    @property
    def trial(self) -> Trial:
        """The rung that it ended on."""
        return self.trials[self.kept]

    @property
    def hurt(self) -> bool:
        """Whether source labels were seen to hurt."""
        return any(HURT in row.decision for row in self.rows)


def unusable(target: Side | None) -> str:
    """Why the target's labels cannot judge rungs; empty where they can."""
    if target is None or not len(target):
        return "no target labels"
    rarest = min(
        len({p for p, own in zip(target.patients, target.targets[:, c].tolist(), strict=True) if own})
        for c in range(target.targets.shape[1])
    )
    if int((target.targets.sum(dim=0) > 0).sum()) < 2:
        return "all target labels are of one class, which cannot tell a good model from a bad one"
    if len(target) < LEAST_LABELS or rarest < LEAST_PATIENTS:
        return (
            f"{len(target)} target labels, {rarest} patients of the rarest class; at least {LEAST_LABELS} labels and "
            f"{LEAST_PATIENTS} patients a class are needed to judge by them"
        )
    return ""


def climb(problem: Problem, *, shifted: bool, checkpoints: Path, seconds: float, tune: bool = True) -> Climb:
    """Try the rungs.

    With target labels that can judge, rungs are compared by AUROC on held-out target labels, else by how
    much agreement they lose from held source scans to the target. Where the rung that this ends on loses too much to be
    trusted and another does not, the ladder stands on the one that loses least: noise may hide which of two is better,
    and still show that one will do.

    Args:
        shifted: Whether the target's scans were shown to differ from the source's.
        checkpoints: Stem of files from which rungs that train go on after a kill.
        seconds: What may be spent; rungs that would not fit are listed, not tried. The first is always tried.
        tune: Whether rungs that train the network may be tried.
    """
    started, found = time.monotonic(), Climb()
    tuner = Tuner(problem, checkpoints, started + seconds)
    for rung in rungs(problem, tuner, shifted=shifted, tune=tune):
        left = seconds - (time.monotonic() - started)
        reason = rung.skip({row.name: row.decision for row in found.rows})
        if found.rows and not reason:
            reason = _no_time(rung, tuner, left)
        if reason:
            found.rows.append(Row(rung.name, rung.what, decision=reason))
            problem.watch.note(f"rung {rung.name}: {reason}")
            continue
        at = time.monotonic()
        try:
            trial = rung.carry_out(problem)
        except OutOfTimeError as error:
            found.rows.append(Row(rung.name, rung.what, decision=str(error), seconds=time.monotonic() - at))
            problem.watch.note(f"rung {rung.name}: {error}")
            continue
        _judge(found, rung, trial, time.monotonic() - at)
        problem.watch.note(
            f"rung {rung.name}: {trial.evidence.name} {trial.evidence.value:.3f}, {found.rows[-1].decision}"
        )
    if shifted and problem.target is None:
        _trust(found)
    found.trials[found.kept] = found.trial.completed()
    return found


def _trust(found: Climb) -> None:
    lost = {name: trial.lost for name, trial in found.trials.items() if trial.lost is not None}
    surest = min(lost, key=lambda name: lost[name])
    if lost[found.kept] <= LOST_AGREEMENT or lost[surest] > LOST_AGREEMENT:
        return
    at = next(n for n, row in enumerate(found.rows) if row.name == surest)
    decision = f"kept: loses the least agreement, and {found.kept} too much"
    found.rows[at] = replace(found.rows[at], decision=decision, kept=True)
    found.kept = surest


def _no_time(rung: Rung, tuner: Tuner, left: float) -> str:
    needed = tuner.seconds(rung.scans) if rung.scans and left > 0 else 0.0
    if left > 0 and needed <= left:
        return ""
    about = f"needs about {needed / 60:.0f} min, " if needed else ""
    return f"left out for time: {about}{max(left, 0) / 60:.0f} min of time_budget were left"


def _judge(found: Climb, rung: Rung, trial: Trial, seconds: float) -> None:
    """Keep a rung that beats the one before it, and chance, beyond noise."""
    low, high = trial.evidence.interval
    held = trial.kept_agreement if trial.evidence.name == "agreement" else None
    row = Row(
        rung.name,
        rung.what,
        trial.evidence.name,
        trial.evidence.value,
        low,
        high,
        held=held.value if held else None,
        seconds=seconds,
    )
    if not found.trials:
        row = replace(row, decision="stands first", kept=True)
    else:
        before = found.trial
        gain, gain_low = trial.claim.beyond(before.claim)
        decision = f"not shown better than {before.name}"
        by_chance = trial.evidence.name == "AUROC" and low <= CHANCE  # a rung below chance by bad luck is easily beaten
        better = gain_low > 0 and not by_chance
        if gain_low > 0 and by_chance:
            decision = f"not shown better than chance, though better than {before.name}"
        elif better:
            decision = f"kept: better than {before.name} beyond noise"
        elif trial.uses_source and not before.uses_source and trial.evidence.below(before.evidence):
            decision = f"{HURT}: with the source's labels worse than {before.name} beyond noise"
        row = replace(row, gain=gain, gain_low=gain_low, decision=decision, kept=better)
    found.rows.append(row)
    found.trials[rung.name] = trial
    if row.kept:
        found.kept = rung.name
