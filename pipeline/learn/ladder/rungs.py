"""The rungs, from the cheapest on, and when one is not worth its time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from models.alignment import LOSSES
from models.alignment.adabn import batch_norms
from pipeline.learn.ladder.problem import Problem
from pipeline.learn.ladder.source_rungs import MOST_SOURCE, adabn, feature_statistics, harmonise, nothing, scanner
from pipeline.learn.ladder.target_rungs import target_probe, weighted_probe
from pipeline.learn.ladder.trial import Trial
from pipeline.learn.ladder.tuned_rungs import ALIGN_EPOCHS, SOURCE_EPOCHS, Tuner, tuned_epochs

LEAST_TUNED = 50
DEFAULT_ALIGNMENT = "coral"
HURT = "negative transfer"

Tried = Mapping[str, str]  # rung to what was decided


def _always(_tried: Tried) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Rung:
    """One thing to try.

    Attributes:
        name, what: For the report.
        carry_out: Does it.
        scans: Scans that the network is trained on, counted once an epoch; 0 for probes.
        skip: Why not to try it, given what was decided before; empty to try it.
    """

    name: str
    what: str
    carry_out: Callable[[Problem], Trial]
    scans: int = 0
    skip: Callable[[Tried], str] = _always


def rungs(problem: Problem, tuner: Tuner, *, shifted: bool, tune: bool = True) -> list[Rung]:
    """All rungs for a problem; the first stands without having to beat another.

    Where a shift is proven and there are target labels, a probe on these stands first, and what was learned at the
    source bears the burden of proof. Where none is proven, the source's model stands first; without target labels
    nothing is repaired then, since nothing could say whether it helped.

    Args:
        tune: Whether rungs that train the network are among them.
    """
    found = _all(problem, tuner, shifted=shifted)
    if problem.target is None and not shifted:
        found = [found[0], *(replace(rung, skip=lambda _: "not tried: no shift was shown") for rung in found[1:])]
    return [rung for rung in found if tune or not rung.scans]


def _all(problem: Problem, tuner: Tuner, *, shifted: bool) -> list[Rung]:
    own = [Rung("target probe", "a head on the target's labels alone", target_probe)]
    if problem.target is None:
        return [*_from_source(problem), *_alignment(problem, tuner)]
    if problem.source is None:
        return [*own, *_tuned(problem, tuner)]
    both = Rung("source and target probe", "a head on both sites' labels, each site counting half", weighted_probe)
    source = _from_source(problem)
    first = [*own, *source] if shifted else [*source, *own]
    return [*first, both, *_tuned(problem, tuner), *_both_tuned(problem, tuner), *_alignment(problem, tuner)]


def _from_source(problem: Problem) -> list[Rung]:
    asked = problem.config.harmonise

    def standardised(_tried: Tried) -> str:
        return "" if asked == "none" else f"not tried: harmonise={asked} was asked for, so that every rung has it"

    found = [
        Rung("nothing", "the source's model as it is", nothing),
        Rung("feature statistics", "the head's features standardised by the target's scans", feature_statistics),
        Rung("harmonise", "grey values of both sites brought to one standard (Nyul)", harmonise, skip=standardised),
        Rung("scanner matched", "a head on source scans as the target's scanner would show them", scanner),
    ]
    if batch_norms(problem.classifier.backbone):
        found.insert(3, Rung("AdaBN", "batch-norm statistics of the target's scans", adabn))
    return found


def _tuned(problem: Problem, tuner: Tuner) -> list[Rung]:
    count = len(problem.target) if problem.target else 0
    if count < LEAST_TUNED:
        return []
    what = "the probe, then the whole network on the target's labels"
    return [Rung("LP-FT on target", what, lambda _: tuner.lp_ft(), round(tuned_epochs(problem) * 2.4 * count))]


def _both_tuned(problem: Problem, tuner: Tuner) -> list[Rung]:
    count = len(problem.target) if problem.target else 0
    if count < LEAST_TUNED:
        return []

    def skip(tried: Tried) -> str:
        return "not tried: the source's labels hurt the probe" if HURT in tried["source and target probe"] else ""

    what = "the same on both sites' labels, seen equally often"
    scans = 4 * SOURCE_EPOCHS * 2 * min(MOST_SOURCE, _source_size(problem))
    return [Rung("LP-FT on source and target", what, lambda _: tuner.weighted_lp_ft(), scans, skip)]


def _alignment(problem: Problem, tuner: Tuner) -> list[Rung]:
    asked = problem.config.align
    name = asked if asked in LOSSES else DEFAULT_ALIGNMENT  # AdaBN and feature statistics are rungs of their own

    def skip(tried: Tried) -> str:
        hurt = HURT in tried.get("source and target probe", "")
        return "not tried: the source's labels hurt the probe" if hurt else ""

    what = "trained on source labels, with features drawn to those of the target"
    scans = ALIGN_EPOCHS * 2 * min(MOST_SOURCE, _source_size(problem))
    return [Rung(f"alignment ({name})", what, lambda _: tuner.aligned(name), scans, skip)]


def _source_size(problem: Problem) -> int:
    return len(problem.source) + len(problem.held) if problem.source and problem.held else 0
