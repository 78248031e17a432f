"""Training steps: passes over batches and their backward passes, seeded and in flat memory."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from models.stochastic_norm import stochastic_norm
from models.strategies.l2_sp import starting_point_penalty
from models.strategies.phase import Phase
from pipeline.config import Config
from pipeline.errors import DivergedError
from pipeline.learn.align import AlignmentTerm
from pipeline.learn.aligned_step import backward_together
from pipeline.learn.batches import Bags, iterate
from pipeline.learn.features import FeatureBags
from pipeline.learn.objective import loss_sum
from pipeline.learn.optimiser import set_rate
from pipeline.learn.parts import Part, cut, pooled
from pipeline.learn.ranks import Ranks
from pipeline.learn.sets import LabelledSet, UnlabelledSet
from pipeline.prepare.augment import augment
from pipeline.watch import Watch


@dataclass(frozen=True, slots=True)
class Epoch:
    """Where a run is.

    Attributes:
        phase: What is done.
        number: Its place among the phases, from 0.
        index: The epoch, from 0.
        count: How many epochs the phase has at most.
    """

    phase: Phase
    number: int
    index: int
    count: int

    def done(self, step: int, steps: int) -> float:
        """Share of the phase that is done in the middle of a step, 0..1."""
        return (self.index + (step + 0.5) / steps) / self.count

    def seed(self, seed: int) -> int:
        """A seed of this epoch's own."""
        return seed * 1_000_003 + self.number * 1009 + self.index


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The steps of one run.

    Attributes:
        classifier: Trained in place.
        train: Labelled source scans.
        weights: Of `class_weights`, on the device.
        config: Batch size, seed, precision, augmentation.
        device: Where the network runs.
        watch: Where progress is told.
        target: Unlabelled target scans, for the term.
        term: What is added to the cross-entropy of each step.
        start: The backbone's parameters when the run began, by name, for phases with an anchor.
        ranks: The processes that share each batch.
    """

    classifier: SliceBagClassifier
    train: LabelledSet
    weights: Tensor
    config: Config
    device: torch.device
    watch: Watch
    target: UnlabelledSet | None = None
    term: AlignmentTerm | None = None
    start: Mapping[str, Tensor] = field(default_factory=dict)
    ranks: Ranks = field(default_factory=Ranks)

    def full_batch(self, phase: Phase, optimizer: torch.optim.Optimizer, bags: FeatureBags) -> float:
        """One L-BFGS step over all cached features: minimises mean loss + lambda/2 ||W||^2; returns the mean loss.

        Raises:
            DivergedError: If it is not a number.
        """
        features, mask = bags.features.to(self.device), bags.mask.to(self.device)
        targets = self.train.targets.to(self.device)
        matrices = [p for p in self.classifier.parameters() if p.requires_grad and p.ndim > 1]
        last = [float("nan")]

        def closure() -> float:
            optimizer.zero_grad()
            total, divisor = loss_sum(self.classifier.classify(features, mask), targets, self.weights, self.config.task)
            mean = total / divisor
            last[0] = float(mean.detach())
            penalised: Tensor = mean + phase.weight_decay / 2 * sum((p**2).sum() for p in matrices)
            penalised.backward()
            return float(penalised.detach())

        optimizer.step(closure)
        if not math.isfinite(last[0]):
            raise DivergedError("the loss is not a number")
        return last[0]

    def one_epoch(self, epoch: Epoch, optimizer: torch.optim.Optimizer) -> float:
        """AdamW steps over all training scans in a seeded order; returns the mean cross-entropy.

        Raises:
            DivergedError: If a loss is not a number; the message names the step.
        """
        seed, size = epoch.seed(self.config.seed), self.config.batch_size
        generator = torch.Generator().manual_seed(seed)
        order = self._order(epoch.phase, generator)
        bar = self.watch.bar(f"{epoch.phase.name}, epoch {epoch.index + 1}", len(order))
        steps = math.ceil(len(order) / size)
        unlabelled = self._unlabelled(steps * size, seed)
        total = divisor = 0.0
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), self._norms(epoch.phase):
            # Dropout, stochastic depth and norm draw from the global generator; ranks see different scans.
            torch.manual_seed(seed + 7919 * self.ranks.rank)
            for step, bags in enumerate(iterate(self.train.store, self.train.contents, order, size)):
                done = epoch.done(step, steps)
                set_rate(optimizer, done, epoch.phase.schedule)
                optimizer.zero_grad()
                slices = self.vary(bags.slices, generator)
                try:
                    if self.term is None:
                        found = self.backward(slices, bags)
                    else:
                        other = next(unlabelled)
                        varied = self.vary(other.slices, generator)
                        found = self.backward_aligned(self.term, slices, bags, varied, other, done)
                except DivergedError as error:
                    raise DivergedError(f"step {step + 1}: {error}") from error
                if epoch.phase.anchor:
                    starting_point_penalty(self.classifier, self.start, epoch.phase.anchor).backward()
                optimizer.step()
                total, divisor = total + found[0], divisor + found[1]
                bar(len(bags.index))
        return total / divisor

    def backward(self, slices: Tensor, bags: Bags) -> tuple[float, float]:
        """Gradient of a batch's mean loss, part by part; returns the loss's sum and what divides it.

        Each rank has the whole batch, with the same draws of augmentation, and runs the network on its share of it.

        Raises:
            DivergedError: If the loss is not a number.
        """
        targets = self.train.targets[bags.index].to(self.device)
        whole, mine = self._divisor(targets), self.ranks.share(len(targets))
        total = 0.0
        for part in cut(slices[mine], bags.mask[mine]):
            logits = self.classifier.head(self._pooled(part))
            value, _ = loss_sum(logits, targets[mine][part.rows], self.weights, self.config.task)
            (value / whole).backward()
            total += float(value.detach())
        total = self.ranks.add_gradients(self.classifier.parameters(), total)
        if not math.isfinite(total):
            raise DivergedError("the loss is not a number")
        return total, float(whole)

    def backward_aligned(
        self, term: AlignmentTerm, slices: Tensor, bags: Bags, other_slices: Tensor, other: Bags, done: float
    ) -> tuple[float, float]:
        """Gradient of a batch's mean loss plus the term; returns the cross-entropy's sum and what divides it.

        Raises:
            DivergedError: If either is not a number; the message says which.
        """
        targets = self.train.targets[bags.index].to(self.device)
        whole = self._divisor(targets)
        seen = [math.nan]

        def loss(source: Tensor, target: Tensor) -> Tensor:
            value, _ = loss_sum(self.classifier.head(source), targets, self.weights, self.config.task)
            extra = term.loss(source, target, self.classifier.head(target), done)
            seen[0] = float(value.detach())
            if not math.isfinite(seen[0]):
                raise DivergedError("the loss is not a number")
            if not math.isfinite(float(extra.detach())):
                raise DivergedError("the alignment loss is not a number")
            return value / whole + extra

        source_parts, target_parts = list(cut(slices, bags.mask)), list(cut(other_slices, other.mask))
        backward_together(self.classifier, source_parts, target_parts, pool=self._pooled, loss=loss)
        return seen[0], float(whole)

    def vary(self, slices: Tensor, generator: torch.Generator) -> Tensor:
        """Augment bags (B, N, C, S, S) as the configuration says."""
        return augment(slices, generator, self.config.augment)

    def _norms(self, phase: Phase) -> contextlib.AbstractContextManager[None]:
        return stochastic_norm(self.classifier) if phase.batch_norm == "stochastic" else contextlib.nullcontext()

    def _pooled(self, part: Part) -> Tensor:
        return pooled(self.classifier, part, self.device, self.config.precision)

    def _divisor(self, targets: Tensor) -> Tensor:
        _, whole = loss_sum(torch.zeros_like(targets), targets, self.weights, self.config.task)
        return whole

    def _order(self, phase: Phase, generator: torch.Generator) -> list[int]:
        order: list[int] = torch.randperm(len(self.train.contents), generator=generator).tolist()
        if phase.batch_norm != "eval" and len(order) % self.config.batch_size == 1 and len(order) > 1:
            order.pop()  # batch norm has no statistics of a batch of one; another epoch leaves another scan out
        return order

    def _unlabelled(self, count: int, seed: int) -> Iterator[Bags]:
        """Batches of `count` target scans in all: every scan once in a random order, then all again in another."""
        if self.target is None:
            return
        generator = torch.Generator().manual_seed(seed + 500_009)  # the source's order is the same with a target
        order: list[int] = []
        while len(order) < count:
            order.extend(torch.randperm(len(self.target.contents), generator=generator).tolist())
        yield from iterate(self.target.store, self.target.contents, order[:count], self.config.batch_size)
