"""What came of a rung: a model for the target, and what it says of scans it was not fitted on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.config import Task
from pipeline.learn.ladder.evidence import Evidence, agreement_evidence, auroc_evidence
from pipeline.learn.ladder.probe import Probe, fit_probe
from pipeline.learn.ladder.problem import Problem, Side
from pipeline.prepare.samples import Preparation

LEAST_VIEWS = 3
LOST_AGREEMENT = 0.1
SPLITS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Features of the scans as a rung shows them to the head.

    Attributes:
        fit, held: Of the source's two sides, (n, F).
        target: Of all target scans, in the order of `Problem.unlabelled`, (u, F).
        own_norm: Whether the target's features are standardised by the target.
        state: Tensors of another backbone, where the rung changed it.
        preparation: Another preparation, where the rung changed it.
    """

    fit: Tensor
    held: Tensor
    target: Tensor
    own_norm: bool = False
    state: Mapping[str, Tensor] | None = None
    preparation: Preparation | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A rung that was carried out.

    Attributes:
        name: Of the rung.
        evidence: What the target says of it.
        model: State of the whole classifier's tensors that it changes: backbone (if at all), norm and head.
        complete: Makes `model`, where that takes long and is worth it only for the rung that is kept.
        target_logits: On the labelled target scans, of models that have not seen their patients; None without labels.
        unlabelled_logits: On all target scans; None where the rung has no use for them.
        held: Held source scans; None without source.
        held_logits: On these.
        kept_agreement: For rungs from source labels, agreement on held source scans, to compare with the target's.
        agreement: The same on the target.
        preparation: Another preparation than the plan's, if the rung needs it.
        uses_source: Whether source labels went in.
    """

    name: str
    evidence: Evidence
    model: Mapping[str, Tensor]
    complete: Callable[[], Mapping[str, Tensor]] | None = None
    target_logits: Tensor | None = None
    unlabelled_logits: Tensor | None = None
    held: Side | None = None
    held_logits: Tensor | None = None
    kept_agreement: Evidence | None = None
    agreement: Evidence | None = None
    preparation: Preparation | None = None
    uses_source: bool = False

    def completed(self) -> "Trial":
        """The trial with its model."""
        return self if self.complete is None else replace(self, model=self.complete(), complete=None)

    @property
    def claim(self) -> Evidence:
        """What rungs are compared by: AUROC, or agreement on the target less that on held source scans treated alike.

        A rung may make all views more alike, or less, wherever the scans come from; only what is lost on the way to the
        target speaks of the target.
        """
        if self.evidence.name != "agreement" or self.kept_agreement is None:
            return self.evidence
        home = self.kept_agreement.value
        return Evidence("agreement", self.evidence.value - home, self.evidence.replicates - home)

    @property
    def lost(self) -> float | None:
        """Agreement on held source scans less that on the target; None for rungs that do not learn from source labels.

        Up to 0.1 of the rank correlation is what views lose on other scans of one hospital too.
        """
        if self.agreement is None or self.kept_agreement is None:
            return None
        return self.kept_agreement.value - self.agreement.value


def view_columns(widths: Sequence[int], seed: int) -> list[Tensor]:
    """Which features each view sees: one stage each, or quarters drawn at random where there are fewer than three."""
    ends = np.cumsum(widths)
    if len(widths) >= LEAST_VIEWS:
        return [torch.arange(int(end - width), int(end)) for end, width in zip(ends, widths, strict=True)]
    order = torch.randperm(int(ends[-1]), generator=torch.Generator().manual_seed(seed))
    return [part.sort().values for part in order.chunk(SPLITS)]


def source_trial(name: str, seen: Seen, problem: Problem, truth: tuple[Side, Side]) -> Trial:
    """Fit a head on source labels and judge it on the target.

    Args:
        truth: The source's two sides, in the order of `seen.fit` and `seen.held`.
    """
    fit, held = truth
    task, seed, columns = problem.config.task, problem.config.seed, view_columns(problem.widths, problem.config.seed)
    heads = [_Head(seen, fit, problem.widths, None, task), *(_Head(seen, fit, (len(c),), c, task) for c in columns)]
    on_target, on_held = [h.target for h in heads], [h.held for h in heads]
    agreement = agreement_evidence(on_target[1:], problem.patients, task=task, seed=seed)
    labelled = None
    evidence = agreement
    if problem.target is not None:
        labelled = on_target[0][problem.labelled_rows]
        evidence = auroc_evidence(labelled, problem.target.targets, problem.target.patients, task=task, seed=seed)
    return Trial(
        name=name,
        evidence=evidence,
        model={**(seen.state or {}), **heads[0].probe.state()},
        target_logits=labelled,
        unlabelled_logits=on_target[0],
        held=held,
        held_logits=on_held[0],
        kept_agreement=agreement_evidence(on_held[1:], held.patients, task=task, seed=seed),
        agreement=agreement,
        preparation=seen.preparation,
        uses_source=True,
    )


class _Head:
    """One head on some of the features, and its logits on held source and target scans."""

    def __init__(self, seen: Seen, fit: Side, widths: Sequence[int], columns: Tensor | None, task: Task) -> None:
        def part(features: Tensor) -> Tensor:
            return features if columns is None else features[:, columns]

        source: Probe = fit_probe(part(seen.fit), fit.targets, widths, task)
        self.held = source.logits(part(seen.held))
        self.probe = source.standardised_by(part(seen.target), widths) if seen.own_norm else source
        self.target = self.probe.logits(part(seen.target))
