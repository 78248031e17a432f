"""Rungs that train the network itself: LP-FT on target labels, with or without the source's, and alignment."""

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase, group_names
from pipeline.errors import OutOfTimeError
from pipeline.learn.align import make_term
from pipeline.learn.checkpoint import Checkpoint
from pipeline.learn.device import mixed
from pipeline.learn.fit import Fit
from pipeline.learn.folds import grouped_folds
from pipeline.learn.ladder.evidence import auroc_evidence
from pipeline.learn.ladder.probe import fit_probe, pooled
from pipeline.learn.ladder.problem import Problem, Side
from pipeline.learn.ladder.source_rungs import MOST_SOURCE, sides
from pipeline.learn.ladder.target_rungs import labelled
from pipeline.learn.ladder.trial import Seen, Trial, source_trial
from pipeline.learn.sets import UnlabelledSet
from pipeline.prepare.samples import to_tensor
from pipeline.watch import Watch

FOLDS = 3
MOST_EPOCHS = 8
SOURCE_EPOCHS = 2
ALIGN_EPOCHS = 3
TIMED = 8
SLOWER = 1.3  # reading, validation and features beside the steps that are timed


@dataclass(frozen=True, slots=True, eq=False)
class Tuner:
    """Fine-tunes copies of the problem's classifier.

    Attributes:
        problem: See there.
        checkpoints: Stem of the files that a killed run goes on from.
        deadline: Time (monotonic) by which a rung gives up that would not be done.
    """

    problem: Problem
    checkpoints: Path
    deadline: float = math.inf

    def lp_ft(self) -> Trial:
        """LP-FT (Kumar et al. 2022) on the target's labels."""
        return self._cross_tuned("LP-FT on target", None)

    def weighted_lp_ft(self) -> Trial:
        """LP-FT on both sites' labels, the target's repeated until both are seen equally often."""
        source = sides(self.problem, MOST_SOURCE)
        return self._cross_tuned("LP-FT on source and target", _joined(*source))

    def aligned(self, name: str) -> Trial:
        """Source labels, and an alignment loss against all target scans."""
        problem = self.problem
        truth = sides(problem, MOST_SOURCE)
        fit, held = truth
        features = problem.features(fit.contents, "source features")
        classifier = self._started(fit_probe(features, fit.targets, problem.widths, problem.config.task).state())
        self._fit(
            classifier,
            fit,
            held,
            _phase(classifier, "align", min(ALIGN_EPOCHS, problem.config.epochs)),
            name=name,
            align=name,
        )
        fit_seen, held_seen, target_seen = (
            problem.features(contents, "aligned features", classifier=classifier)
            for contents in (fit.contents, held.contents, problem.unlabelled)
        )
        state = {f"backbone.{key}": tensor.cpu() for key, tensor in classifier.backbone.state_dict().items()}
        return source_trial(f"alignment ({name})", Seen(fit_seen, held_seen, target_seen, state=state), problem, truth)

    def seconds(self, scans: int) -> float:
        """Estimated time to train on so many scans, from two timed steps."""
        problem, classifier = self.problem, copy.deepcopy(self.problem.classifier).to(self.problem.device).train()
        sample = to_tensor(problem.store.load(problem.unlabelled[0]))[:TIMED]
        batch = sample.repeat(-(-TIMED // len(sample)), 1, 1, 1)[:TIMED].to(problem.device)
        started = 0.0
        for step in range(2):  # the first one warms up
            started = time.monotonic() if step else 0.0
            with mixed(problem.device, problem.config.precision):
                found = classifier.features(batch)
            found.float().square().mean().backward()
        return SLOWER * (time.monotonic() - started) / TIMED * problem.store.preparation.slices * scans

    def _cross_tuned(self, name: str, source: Side | None) -> Trial:
        problem, target = self.problem, labelled(self.problem)
        logits = torch.zeros(len(target), target.targets.shape[1])
        folds = grouped_folds(target.targets, target.patients, folds=FOLDS, seed=problem.config.seed)
        started = time.monotonic()
        for number, fold in enumerate(folds):
            self._check_time(started, number, len(folds) + 1)
            rows = fold.train.tolist()
            tuned = self._tuned(target.take(rows), source, f"{name}, part {number + 1} of {len(folds) + 1}")
            held = target.take(fold.test.tolist())
            logits[torch.from_numpy(fold.test)] = self._logits(tuned, held)
        task, seed = problem.config.task, problem.config.seed
        evidence = auroc_evidence(logits, target.targets, target.patients, task=task, seed=seed)

        def complete() -> Mapping[str, Tensor]:
            last = self._tuned(target, source, f"{name}, part {len(folds) + 1} of {len(folds) + 1}")
            return {key: tensor.cpu() for key, tensor in last.state_dict().items()}

        return Trial(
            name=name,
            evidence=evidence,
            model={},
            complete=complete,
            target_logits=logits,
            uses_source=source is not None,
        )

    def _check_time(self, started: float, done: int, parts: int) -> None:
        """Give up a rung that is slower than was estimated, as on a machine with other work.

        Raises:
            OutOfTimeError: If the parts that are left would not be done by the deadline.
        """
        now = time.monotonic()
        if done and now + (now - started) / done * (parts - done) > self.deadline:
            raise OutOfTimeError(f"given up for time after part {done} of {parts}, which took longer than estimated")

    def _tuned(self, target: Side, source: Side | None, title: str) -> SliceBagClassifier:
        """Probe, then fine-tuning; a fifth of the target's patients choose the epoch."""
        problem, config = self.problem, self.problem.config
        fold = grouped_folds(target.targets, target.patients, folds=5, seed=config.seed)[0]
        fit, val = target.take(fold.train.tolist()), target.take(fold.test.tolist())
        features = problem.features(fit.contents, "labelled target features")
        targets, weights, scans = fit.targets, None, fit
        if source is not None:
            known = (problem.features(source.contents, "source features"), source.targets)
            features, targets, weights = pooled(known, (features, fit.targets))
            scans = _joined(source, *[fit] * max(1, round(len(source) / len(fit))))
        probe = fit_probe(features, targets, problem.widths, config.task, weights)
        classifier = self._started(probe.state())
        epochs = tuned_epochs(problem) if source is None else min(SOURCE_EPOCHS, config.epochs)
        self._fit(classifier, scans, val, _phase(classifier, "fine-tune", epochs), name=title)
        return classifier

    def _started(self, state: dict[str, Tensor]) -> SliceBagClassifier:
        classifier = copy.deepcopy(self.problem.classifier)
        classifier.load_state_dict(state, strict=False)
        return classifier

    def _fit(
        self, classifier: SliceBagClassifier, train: Side, val: Side, phase: Phase, *, name: str, align: str = ""
    ) -> None:
        problem, config = self.problem, self.problem.config
        checkpoint = Checkpoint(self.checkpoints).beside("".join(c if c.isalnum() else "-" for c in name))
        term = None
        if align:
            count, classes = classifier.backbone.num_features, classifier.head.out_features
            term = make_term(align, count, classes, config.align_weight, config.seed)
        fit = Fit(
            classifier,
            train=train.labelled(problem.store),
            val=val.labelled(problem.store),
            config=config,
            device=problem.device,
            checkpoint=checkpoint,
            watch=Watch(note=lambda text: problem.watch.note(f"{name}: {text}"), bar=problem.watch.bar),
            target=UnlabelledSet(problem.store, problem.unlabelled) if align else None,
            term=term,
        )
        fit.run([phase])
        checkpoint.remove()

    def _logits(self, classifier: SliceBagClassifier, side: Side) -> Tensor:
        features = self.problem.features(side.contents, "held-out target features", classifier=classifier)
        mask = torch.ones(len(features), 1, dtype=torch.bool)
        with torch.inference_mode():
            return classifier.cpu().classify(features[:, None], mask)


def tuned_epochs(problem: Problem) -> int:
    """Epochs of LP-FT on the target's labels alone."""
    return min(MOST_EPOCHS, problem.config.epochs)


def _phase(classifier: SliceBagClassifier, name: str, epochs: int) -> Phase:
    names = group_names(classifier)
    backbone = names[: len(names) - len(classifier.top_groups())]
    rates = dict.fromkeys(backbone, 0.1)
    return Phase(name=name, groups=names, rates=rates, epochs=epochs, start="probe")  # the norm stays the probe's


def _joined(*parts: Side) -> Side:
    return Side(
        tuple(content for part in parts for content in part.contents),
        torch.cat([part.targets for part in parts]),
        tuple(patient for part in parts for patient in part.patients),
    )
