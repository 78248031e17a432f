"""Rungs from target labels: probes on them alone, and on them with the source's."""

import torch
from torch import Tensor

from pipeline.errors import TrainingError
from pipeline.learn.ladder.evidence import auroc_evidence
from pipeline.learn.ladder.probe import fit_probe, held_out_logits, pooled
from pipeline.learn.ladder.problem import Problem, Side
from pipeline.learn.ladder.source_rungs import sides
from pipeline.learn.ladder.trial import Trial

PROBED_ROWS = 2000
MOST_REPEATS = 5


def labelled(problem: Problem) -> Side:
    """The labelled target scans.

    Raises:
        TrainingError: If there are none.
    """
    if problem.target is None:
        raise TrainingError("a rung from target labels was asked for and there are none")
    return problem.target


def target_probe(problem: Problem) -> Trial:
    """A probe on the target's labels alone; the source is dropped."""
    target = labelled(problem)
    features = problem.features(target.contents, "labelled target features")
    logits = _held_out(problem, features, None)
    probe = fit_probe(features, target.targets, problem.widths, problem.config.task)
    return _trial("target probe", problem, logits, probe.state(), uses_source=False)


def weighted_probe(problem: Problem) -> Trial:
    """A probe on both sites' labels, each site counting half."""
    target = labelled(problem)
    features = problem.features(target.contents, "labelled target features")
    truth = sides(problem)
    source = torch.cat([problem.features(side.contents, "source features") for side in truth])
    known = (source, torch.cat([side.targets for side in truth]))
    logits = _held_out(problem, features, known)
    rows, targets, weights = pooled(known, (features, target.targets))
    probe = fit_probe(rows, targets, problem.widths, problem.config.task, weights)
    return _trial("source and target probe", problem, logits, probe.state(), uses_source=True)


def _held_out(problem: Problem, features: Tensor, source: tuple[Tensor, Tensor] | None) -> Tensor:
    target, config = labelled(problem), problem.config
    repeats = 1 if source is not None else max(1, min(MOST_REPEATS, PROBED_ROWS // len(target)))
    return held_out_logits(
        features,
        target.targets,
        target.patients,
        problem.widths,
        config.task,
        seed=config.seed,
        with_source=source,
        repeats=repeats,
    )


def _trial(name: str, problem: Problem, logits: Tensor, model: dict[str, Tensor], *, uses_source: bool) -> Trial:
    target = labelled(problem)
    task, seed = problem.config.task, problem.config.seed
    evidence = auroc_evidence(logits, target.targets, target.patients, task=task, seed=seed)
    return Trial(name=name, evidence=evidence, model=model, target_logits=logits, uses_source=uses_source)
