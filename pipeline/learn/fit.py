"""The training loop: one for all strategies, visible from start to end.

For every phase: train its groups, look at the validation set after each epoch, keep the best state, stop when it no
longer gets better, and write a checkpoint from which a killed run goes on.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase
from pipeline.config import Config
from pipeline.errors import DivergedError, TrainingError
from pipeline.evaluate.plots import EpochRow
from pipeline.learn.align import AlignmentTerm
from pipeline.learn.checkpoint import Checkpoint, Progress
from pipeline.learn.frozen_features import FrozenFeatures
from pipeline.learn.merging import Merging
from pipeline.learn.objective import class_weights
from pipeline.learn.optimiser import make_optimizer, train_groups
from pipeline.learn.ranks import current_ranks
from pipeline.learn.relative_rates import set_relative_rates
from pipeline.learn.self_supervised import pretrain
from pipeline.learn.sets import LabelledSet, UnlabelledSet
from pipeline.learn.statistics import recompute_on
from pipeline.learn.steps import Epoch, Steps
from pipeline.learn.validation import Figures, macro_auroc, validate
from pipeline.watch import Watch

__all__ = ["Fit", "LabelledSet", "UnlabelledSet", "macro_auroc"]


class Fit:
    """Trains one classifier in place.

    Args:
        classifier: Left in the state that was best on the validation set.
        train, val: The two sides.
        config: Rates, epochs, patience, seed, precision.
        device: Where the network runs.
        checkpoint: Where progress is kept.
        watch: Where progress is told.
        target: Unlabelled scans: what `term` compares the training scans with, and what self-supervised phases
            learn from.
        term: Added to the cross-entropy of every step of the phases that are not cached.

    Attributes:
        notes: What the report must tell of the run, such as where it diverged; of the whole run, also after a resume.

    Raises:
        TrainingError: For a term without target scans.
    """

    def __init__(
        self,
        classifier: SliceBagClassifier,
        *,
        train: LabelledSet,
        val: LabelledSet,
        config: Config,
        device: torch.device,
        checkpoint: Checkpoint,
        watch: Watch,
        target: UnlabelledSet | None = None,
        term: AlignmentTerm | None = None,
    ) -> None:
        if term is not None and (target is None or not target.contents):
            raise TrainingError("alignment: no target scans were given; name the site in target_sites")
        self.classifier, self.train, self.val, self.config, self.device = classifier, train, val, config, device
        self.checkpoint, self.watch, self.target, self.term = checkpoint, watch, target, term
        weights = class_weights(train.targets, config.task)
        self.weights = weights
        self.ranks = current_ranks()
        self.steps = Steps(classifier, train, weights.to(device), config, device, watch, target, term, ranks=self.ranks)
        self.frozen = FrozenFeatures(classifier, train, val, config=config, device=device, watch=watch)
        self.notes: list[str] = []

    def run(self, phases: Sequence[Phase]) -> list[EpochRow]:
        """Go through the phases.

        Returns:
            One row an epoch.

        Raises:
            TrainingError: If the loss is not a number before any good state was reached.
        """
        self.classifier.to(self.device).to(memory_format=torch.channels_last)
        if any(phase.anchor for phase in phases):
            start = {name: p.detach().clone() for name, p in self.classifier.backbone.named_parameters()}
            self.steps = replace(self.steps, start=start)
        progress = self.checkpoint.load(self.classifier) or Progress()
        self.ranks.meet()  # before the first one writes another checkpoint
        self.ranks.start_equal(self.classifier)
        self.notes = progress.notes
        if self.term is not None:
            self.term.to(self.device)
            if progress.term is not None:
                self.term.load_state_dict(progress.term)
        first = phases[0]
        fresh = progress.phase == 0 and progress.epoch == 0
        if fresh and first.start == "pretrained" and first.objective == "supervised":
            self.frozen.fit_norm(whole=first.cached)
        for number in range(progress.phase, len(phases)):
            self._run_phase(phases, number, progress)
            progress.phase, progress.epoch, progress.worse, progress.optimizer = number + 1, 0, 0, None
            self._save(progress)
            if phases[number].objective == "self_supervised":
                self._pretraining(number).remove()
        self.classifier.load_state_dict(progress.best_state())
        self.classifier.eval()
        return progress.history

    def _save(self, progress: Progress) -> None:
        if not self.ranks.first:
            return
        progress.term = self.term.state_dict() if self.term is not None else None
        self.checkpoint.save(self.classifier, progress)

    def _run_phase(self, phases: Sequence[Phase], number: int, progress: Progress) -> None:
        phase = phases[number]
        if phase.objective != "supervised":
            if phase.objective == "self_supervised":
                self._pretrain(phase, number, progress)
            else:
                recompute_on(self.classifier, self.train, self.config, self.device)
            progress.best, progress.path = None, []  # figures of other features cannot be compared
            self.frozen.drop()
            self.frozen.fit_norm(whole=number + 1 < len(phases) and phases[number + 1].cached)
            return
        if phase.beyond_noise and progress.path_ends():
            self.watch.note(f"{phase.name}: left out, the two before it lowered the validation loss no further")
            return
        if progress.epoch == 0:
            self._start(phase, progress)
        self._train_phase(phase, number, progress)
        if phase.merge != "none":
            merging = Merging(self.classifier, self.train, self.config, self.device, lambda: self._validate(phase))
            self._note(merging.merge(phase, progress), progress)
        later = phases[number + 1 :]
        if phase.cached and any(other.start == "probe" or other.merge != "none" for other in later):
            progress.probe = progress.best
        if not phase.cached:
            self.frozen.drop()
        self.classifier.load_state_dict(progress.best_state())

    def _start(self, phase: Phase, progress: Progress) -> None:
        if phase.start == "probe" and progress.probe is not None:
            self.classifier.load_state_dict(progress.probe[1])
        if phase.merge != "none":
            progress.best = None  # what is merged is the best of its own epochs

    def _pretrain(self, phase: Phase, number: int, progress: Progress) -> None:
        """Train the backbone without labels."""
        found = pretrain(
            self.classifier,
            self.target or UnlabelledSet(self.train.store, self.train.contents),
            phase=phase,
            config=self.config,
            device=self.device,
            watch=self.watch,
            checkpoint=self._pretraining(number),
        )
        progress.notes.extend(found.notes)

    def _pretraining(self, number: int) -> Checkpoint:
        return self.checkpoint.beside(f"pretraining-{number}")

    def _train_phase(self, phase: Phase, number: int, progress: Progress) -> None:
        self.ranks.start_equal(self.classifier)
        train_groups(self.classifier, phase)
        extra = self.term.parameters() if self.term is not None and not phase.cached else []
        optimizer = make_optimizer(self.classifier, phase, self.config, extra)
        if progress.optimizer is not None:
            optimizer.load_state_dict(progress.optimizer)
        epochs = phase.epochs or self.config.epochs
        for index in range(progress.epoch, epochs):
            if progress.worse >= self.config.patience:
                return
            groups = phase.trained(index, epochs)
            train_groups(self.classifier, phase, groups)
            try:
                train_loss = self._epoch(Epoch(phase, number, index, epochs), optimizer)
                figures = self._validate(phase)
            except DivergedError as error:
                self._diverged(f"phase {phase.name}, epoch {index + 1}, {error}", progress)
                return
            better = self._record(phase, index, train_loss, figures, progress)
            progress.worse = 0 if better or set(groups) != set(phase.groups) else progress.worse + 1
            progress.epoch = index + 1
            if not phase.cached:
                progress.optimizer = optimizer.state_dict()
                self._save(progress)

    def _epoch(self, epoch: Epoch, optimizer: torch.optim.Optimizer) -> float:
        if epoch.phase.cached:
            return self.steps.full_batch(epoch.phase, optimizer, self.frozen.both()[0])
        if epoch.phase.rates_by == "relative_gradient":
            set_relative_rates(self.steps, epoch, optimizer)
        return self.steps.one_epoch(epoch, optimizer)

    def _record(self, phase: Phase, index: int, train_loss: float, figures: Figures, progress: Progress) -> bool:
        row = EpochRow(phase.name, index + 1, train_loss, figures.loss, figures.auroc)
        progress.history.append(row)
        progress.path = [*progress.path, figures.loss] if phase.beyond_noise else []
        self.watch.note(
            f"{row.phase}, epoch {row.epoch}: train loss {train_loss:.4f}, "
            f"validation loss {figures.loss:.4f}, AUROC {figures.auroc:.4f}"
        )
        if self.term is not None and not phase.cached:  # the source's validation scans cannot say what the target gains
            progress.best = None
        return progress.offer(
            self.classifier, figures.auroc, figures.loss, figures.error if phase.beyond_noise else None
        )

    def _diverged(self, where: str, progress: Progress) -> None:
        """Record where a phase ended before its time; its last good state is taken up.

        Raises:
            TrainingError: If there is none.
        """
        if progress.best is None and progress.probe is None:
            raise TrainingError(f"{where}; lower the learning rate")
        self._note(f"{where}; the phase ended there and the best state before it was kept", progress)

    def _note(self, text: str, progress: Progress) -> None:
        progress.notes.append(text)
        self.watch.note(text)

    def _validate(self, phase: Phase) -> Figures:
        return validate(
            self.classifier,
            self.val,
            cached=self.frozen.both()[1] if phase.cached else None,
            weights=self.weights,
            config=self.config,
            device=self.device,
        )
