"""Continued pretraining: the backbone learns from scans whose labels nobody looks at."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from models.self_supervised.simsiam import SimSiam, simsiam_loss, spread
from models.strategies.phase import Phase
from pipeline.config import Config
from pipeline.errors import DivergedError, TrainingError
from pipeline.learn.checkpoint import Checkpoint
from pipeline.learn.device import mixed
from pipeline.learn.optimiser import make_optimizer, set_rate, train_groups
from pipeline.learn.pretraining_progress import Pretraining, Row, States
from pipeline.learn.sets import UnlabelledSet
from pipeline.learn.slice_draws import draw_slices, draws_per_scan, iterate_slices
from pipeline.prepare.augment.views import view
from pipeline.watch import Watch

LEAST_SLICES = 8
CPU_BATCH = 16  # with two views, as many slices in memory as in a supervised step
GPU_BATCH = 64
TOP_RATE = 10.0
COLLAPSED = 0.1
LOOK_BACK = 10


def pretrain(
    classifier: SliceBagClassifier,
    unlabelled: UnlabelledSet,
    *,
    phase: Phase,
    config: Config,
    device: torch.device,
    watch: Watch,
    checkpoint: Checkpoint,
) -> Pretraining:
    """Train the phase's groups so that two views of a slice predict each other, by SimSiam.

    AdamW with the phase's rates for the backbone, TOP_RATE times the base rate for the small networks above it,
    which start at random; warm-up and cosine decay. Batches have `batch_size` slices, kept within 8..16 on a CPU
    and at least 64 on a GPU. If the loss or a weight is no longer a number, the end of the last good epoch is taken
    up again; if the projections or the features collapse to one direction, the state before pretraining is. Both
    end the phase and are noted.

    Args:
        classifier: Changed in place and left in evaluation mode; its head and pooling are not touched.
        unlabelled: Scans to learn from.
        phase: Groups, rates, epochs, how batch norm behaves.
        config: Defaults of the rates and epochs, batch size, seed, precision.
        device: Where the network runs.
        watch: Where progress is told.
        checkpoint: Written after each epoch; a killed run goes on from there. It stays: the caller removes it.

    Raises:
        TrainingError: If there are fewer than 8 slices to draw.

    Source:
        Chen & He 2021, Exploring Simple Siamese Representation Learning; with AdamW instead of SGD, as the rest here.
    """
    count = len(unlabelled.contents) * draws_per_scan(unlabelled)
    if count < LEAST_SLICES:
        raise TrainingError(
            f"phase {phase.name}: {len(unlabelled.contents)} unlabelled scans give {count} slices an epoch, "
            f"expected at least {LEAST_SLICES}"
        )
    classifier.to(device).to(memory_format=torch.channels_last)
    return _Run(classifier, unlabelled, phase, config, device).go(watch, checkpoint)


def batch_of(count: int, config: Config, device: torch.device) -> int:
    """Slices in a step, when an epoch has `count` of them."""
    if device.type == "cuda":
        return min(count, max(config.batch_size, GPU_BATCH))
    return min(count, max(LEAST_SLICES, min(config.batch_size, CPU_BATCH)))


class _Run:
    """One phase of continued pretraining."""

    def __init__(
        self,
        classifier: SliceBagClassifier,
        scans: UnlabelledSet,
        phase: Phase,
        config: Config,
        device: torch.device,
    ) -> None:
        self.classifier, self.scans, self.phase, self.config, self.device = classifier, scans, phase, config, device
        self.epochs = phase.epochs or config.epochs
        self.batch = batch_of(len(scans.contents) * draws_per_scan(scans), config, device)
        self.siamese = SimSiam(classifier.backbone.num_features, seed=config.seed).to(device)
        train_groups(classifier, phase)
        self.optimizer = make_optimizer(classifier, phase, config)
        top = TOP_RATE * (phase.learning_rate or config.learning_rate)
        extra = {"params": list(self.siamese.parameters()), "lr": top, "peak": top}
        self.optimizer.add_param_group(extra | {"weight_decay": phase.weight_decay})
        self.states = States(classifier, self.siamese, self.optimizer)
        self.progress = Pretraining()

    def go(self, watch: Watch, checkpoint: Checkpoint) -> Pretraining:
        """Run the epochs that are left."""
        self.progress = progress = self.states.load(checkpoint)
        while progress.epoch < self.epochs:
            where = f"phase {self.phase.name}, epoch {progress.epoch + 1}"
            try:
                row = self._one_epoch(watch)
            except DivergedError as error:
                self._end(self.states.good, f"{where}, {error}; the phase ended there with the state before that epoch")
            else:
                progress.history.append(row)
                watch.note(
                    f"{self.phase.name}, epoch {progress.epoch + 1}: loss {row[0]:.4f}, "
                    f"spread of projections {row[1]:.3f}, of features {row[2]:.3f} of the start"
                )
                if min(row[1:]) < COLLAPSED:
                    kept = "the phase ended there with the state before pretraining"
                    self._end(self.states.start, f"{where}, the representation collapsed; {kept}")
                else:
                    progress.epoch += 1
                    self.states.mark_good()
            self.states.save(checkpoint, progress)
        for note in progress.notes:
            watch.note(note)
        self.classifier.eval()
        return progress

    def _end(self, kept: dict[str, Any], note: str) -> None:
        """Take up a state and leave off."""
        self.classifier.load_state_dict(kept)
        self.progress.notes.append(note)
        self.progress.epoch = self.epochs

    def _one_epoch(self, watch: Watch) -> Row:
        """Steps over one draw of slices; returns mean loss and the two spreads of the last steps.

        Raises:
            DivergedError: If a loss or a weight is not a number.
        """
        epoch = self.progress.epoch
        seed = self.config.seed * 1_000_003 + 777_001 + epoch
        generator = torch.Generator().manual_seed(seed)
        draws = draw_slices(self.scans, generator)
        steps = len(draws) // self.batch
        bar = watch.bar(f"{self.phase.name}, epoch {epoch + 1}", steps * self.batch)
        train_groups(self.classifier, self.phase)
        self.siamese.train()
        rows: list[Row] = []
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)  # dropout and stochastic depth draw from the global generator
            for step, slices in enumerate(iterate_slices(self.scans, draws, self.batch)):
                set_rate(self.optimizer, (epoch + (step + 0.5) / steps) / self.epochs, self.phase.schedule)
                rows.append(self._step(slices.to(self.device), generator))
                if not math.isfinite(rows[-1][0]):
                    raise DivergedError(f"step {step + 1}: the loss is not a number")
                bar(self.batch)
        if not all(bool(tensor.isfinite().all()) for tensor in self.classifier.state_dict().values()):
            raise DivergedError(f"step {steps}: a weight is not a number")
        last = rows[-LOOK_BACK:]
        return _mean([row[0] for row in rows]), _mean([row[1] for row in last]), _mean([row[2] for row in last])

    def _step(self, slices: Tensor, generator: torch.Generator) -> Row:
        """One step on slices (B, C, S, S); returns loss, spread of projections, relative spread of features."""
        self.optimizer.zero_grad()
        features: list[Tensor] = []
        for _ in range(2):
            varied = view(slices[:, None], generator)[:, 0]
            with mixed(self.device, self.config.precision):
                features.append(self.classifier.features(varied))
        first, second = (self.siamese(found.float()) for found in features)
        loss = simsiam_loss(first, second)
        loss.backward()
        if math.isfinite(float(loss.detach())):
            self.optimizer.step()
        now = float(spread(features[0]))
        if self.progress.first_spread is None:
            self.progress.first_spread = now
        return float(loss.detach()), float(spread(first[0])), now / max(self.progress.first_spread, 1e-12)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
