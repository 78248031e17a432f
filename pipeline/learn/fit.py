"""The training loop: one for all strategies, visible from start to end.

For every phase: train its groups, look at the validation set after each epoch, keep the best state, stop when it no
longer gets better, and write a checkpoint from which a killed run goes on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from models.classifier import SliceBagClassifier, pack
from models.strategies.phase import Phase
from pipeline.config import Config
from pipeline.errors import TrainingError
from pipeline.evaluate.plots import EpochRow
from pipeline.learn.batches import Bags, iterate
from pipeline.learn.checkpoint import Checkpoint, Progress
from pipeline.learn.device import mixed
from pipeline.learn.features import FeatureBags, extract
from pipeline.learn.objective import class_weights, loss_sum, probabilities, row_losses
from pipeline.learn.optimiser import make_optimizer, set_rate, train_groups
from pipeline.prepare.augment import augment
from pipeline.prepare.cache import SampleStore
from pipeline.watch import Watch

MICRO_SLICES = 32
NORM_CASES = 512


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """One side of the split.

    Attributes:
        store: Where the samples are.
        contents: n content hashes.
        targets: Indicators (n, L), float32.
    """

    store: SampleStore
    contents: tuple[str, ...]
    targets: Tensor


class Fit:
    """Trains one classifier in place.

    Args:
        classifier: Left in the state that was best on the validation set.
        train, val: The two sides.
        config: Rates, epochs, patience, seed, precision.
        device: Where the network runs.
        checkpoint: Where progress is kept.
        watch: Where progress is told.
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
    ) -> None:
        self.classifier, self.train, self.val, self.config, self.device = classifier, train, val, config, device
        self.checkpoint, self.watch = checkpoint, watch
        self.weights = class_weights(train.targets, config.task).to(device)
        self.cached: tuple[FeatureBags, FeatureBags] | None = None

    def run(self, phases: Sequence[Phase]) -> list[EpochRow]:
        """Go through the phases.

        Returns:
            One row an epoch.

        Raises:
            TrainingError: If the loss is not a number before any good state was reached.
        """
        self.classifier.to(self.device).to(memory_format=torch.channels_last)
        progress = self.checkpoint.load(self.classifier) or Progress()
        if progress.phase == 0 and progress.epoch == 0 and phases[0].start == "pretrained":
            self._fit_norm(phases[0].cached)
        for number in range(progress.phase, len(phases)):
            self._run_phase(phases[number], number, progress)
            progress.phase, progress.epoch, progress.worse, progress.optimizer = number + 1, 0, 0, None
            self.classifier.load_state_dict(progress.best_state())
            self.checkpoint.save(self.classifier, progress)
        self.classifier.eval()
        return progress.history

    def _fit_norm(self, whole: bool) -> None:
        contents = self.train.contents if whole else self.train.contents[:: 1 + len(self.train.contents) // NORM_CASES]
        bags = self._extract(contents, "features")
        self.classifier.norm.fit(bags.features[bags.mask].to(self.device))

    def _extract(self, contents: Sequence[str], title: str) -> FeatureBags:
        bar = self.watch.bar(title, len(contents))
        return extract(
            self.classifier,
            self.train.store,
            contents,
            device=self.device,
            precision=self.config.precision,
            progress=bar,
        )

    def _run_phase(self, phase: Phase, number: int, progress: Progress) -> None:
        train_groups(self.classifier, phase)
        optimizer = make_optimizer(self.classifier, phase, self.config)
        if progress.optimizer is not None:
            optimizer.load_state_dict(progress.optimizer)
        if phase.cached and self.cached is None:
            self.cached = (self._extract(self.train.contents, "features"), self._extract(self.val.contents, "features"))
        epochs = phase.epochs or self.config.epochs
        for epoch in range(progress.epoch, epochs):
            if progress.worse >= self.config.patience:
                return
            train_groups(self.classifier, phase)
            if phase.cached:
                train_loss = self._full_batch_step(phase, optimizer)
            else:
                train_loss = self._pass_over_batches(phase, optimizer, epoch / epochs, 1 / epochs, (number, epoch))
            val_loss, val_auroc, error = self._validate(phase) if math.isfinite(train_loss) else (math.nan,) * 3
            if not math.isfinite(val_loss):
                if progress.best is None:
                    raise TrainingError(
                        f"phase {phase.name}, epoch {epoch + 1}: the loss is not a number; lower the learning rate"
                    )
                return
            row = EpochRow(phase.name, epoch + 1, train_loss, val_loss, val_auroc)
            progress.history.append(row)
            self.watch.note(
                f"{row.phase}, epoch {row.epoch}: train loss {train_loss:.4f}, "
                f"validation loss {val_loss:.4f}, AUROC {val_auroc:.4f}"
            )
            better = progress.offer(self.classifier, val_auroc, val_loss, error if phase.beyond_noise else None)
            progress.worse = 0 if better else progress.worse + 1
            progress.epoch = epoch + 1
            if not phase.cached:
                progress.optimizer = optimizer.state_dict()
                self.checkpoint.save(self.classifier, progress)

    def _full_batch_step(self, phase: Phase, optimizer: torch.optim.Optimizer) -> float:
        """One L-BFGS step over all cached features: minimises mean loss + lambda/2 ||W||^2."""
        if self.cached is None:
            raise TrainingError(f"phase {phase.name}: full-batch steps need cached features")
        bags = self.cached[0]
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
        return last[0]

    def _pass_over_batches(
        self,
        phase: Phase,
        optimizer: torch.optim.Optimizer,
        start: float,
        share: float,
        place: tuple[int, int],
    ) -> float:
        """One epoch of AdamW steps; a step's bags go through the network in parts, so that memory stays flat."""
        seed = self.config.seed * 1_000_003 + place[0] * 1009 + place[1]
        generator = torch.Generator().manual_seed(seed)
        order: list[int] = torch.randperm(len(self.train.contents), generator=generator).tolist()
        size = self.config.batch_size
        if phase.batch_norm == "train" and len(order) % size == 1 and len(order) > 1:
            order.pop()  # batch norm has no statistics of a batch of one; another epoch leaves another scan out
        bar = self.watch.bar(f"{phase.name}, epoch {place[1] + 1}", len(order))
        steps = math.ceil(len(order) / size)
        total = divisor = 0.0
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)  # dropout and stochastic depth draw from the global generator
            for step, bags in enumerate(iterate(self.train.store, self.train.contents, order, size)):
                set_rate(optimizer, start + share * (step + 0.5) / steps)
                optimizer.zero_grad()
                slices = augment(bags.slices, generator) if self.config.augment != "none" else bags.slices
                part_total, part_divisor = self._backward(slices, bags)
                if not math.isfinite(part_total):
                    return part_total
                optimizer.step()
                total, divisor = total + part_total, divisor + part_divisor
                bar(len(bags.index))
        return total / divisor

    def _backward(self, slices: Tensor, bags: Bags) -> tuple[float, float]:
        targets = self.train.targets[bags.index].to(self.device)
        _, whole = loss_sum(torch.zeros_like(targets), targets, self.weights, self.config.task)
        per_part = max(1, MICRO_SLICES // slices.shape[1])
        total = 0.0
        for n in range(0, len(slices), per_part):
            mask = bags.mask[n : n + per_part]
            part = slices[n : n + per_part][mask].to(self.device)
            with mixed(self.device, self.config.precision):
                found = self.classifier.features(part)
            mask = mask.to(self.device)
            logits = self.classifier.classify(pack(found, mask), mask)
            value, _ = loss_sum(logits, targets[n : n + per_part], self.weights, self.config.task)
            (value / whole).backward()
            total += float(value.detach())
        return total, float(whole)

    @torch.no_grad()
    def _validate(self, phase: Phase) -> tuple[float, float, float]:
        """Validation loss, macro AUROC and the loss's standard error; all NaN where a logit is."""
        self.classifier.eval()
        if phase.cached and self.cached is not None:
            bags = self.cached[1]
            logits = self.classifier.classify(bags.features.to(self.device), bags.mask.to(self.device)).cpu()
        else:
            logits = self._forward_val()
        if not bool(logits.isfinite().all()):
            return math.nan, math.nan, math.nan
        rows = row_losses(logits, self.val.targets, self.weights.cpu(), self.config.task)
        error = float(rows.std(correction=0)) / math.sqrt(len(rows))
        return float(rows.mean()), macro_auroc(probabilities(logits, self.config.task), self.val.targets), error

    def _forward_val(self) -> Tensor:
        count = len(self.val.contents)
        per_part = max(1, MICRO_SLICES // self.val.store.preparation.slices)
        parts: list[Tensor] = []
        for bags in iterate(self.val.store, self.val.contents, range(count), per_part):
            mask = bags.mask.to(self.device)
            with mixed(self.device, self.config.precision):
                found = self.classifier.features(bags.slices[bags.mask].to(self.device))
            parts.append(self.classifier.classify(pack(found, mask), mask).cpu())
        return torch.cat(parts)


def macro_auroc(probability: Tensor, targets: Tensor) -> float:
    """Mean over the classes of the one-versus-rest AUROC; classes that all or no rows have are left out.

    Returns:
        The mean, or 0.5 if no class can be measured.
    """
    values = [
        float(roc_auc_score(targets[:, c].numpy(), probability[:, c].numpy()))
        for c in range(targets.shape[1])
        if 0 < int(targets[:, c].sum()) < len(targets)
    ]
    return sum(values) / len(values) if values else 0.5
