"""What becomes of a phase's best weights: averaged with the probe's, or with those of other phases."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from models.alignment.adabn import batch_norms
from models.averaging import interpolate
from models.classifier import SliceBagClassifier
from models.strategies.phase import Phase
from pipeline.config import Config
from pipeline.errors import DivergedError, TrainingError
from pipeline.learn.checkpoint import Best, Progress, rank
from pipeline.learn.sets import LabelledSet
from pipeline.learn.statistics import recompute_on
from pipeline.learn.validation import Figures


@dataclass(frozen=True, slots=True, eq=False)
class Merging:
    """Averages states of one classifier.

    Attributes:
        classifier: Is left with the state that was measured last.
        train: Scans from which batch-norm statistics are recomputed, where they were trained.
        config: Seed, precision.
        device: Where the network runs.
        measure: Figures of the classifier on the validation set.
    """

    classifier: SliceBagClassifier
    train: LabelledSet
    config: Config
    device: torch.device
    measure: Callable[[], Figures]

    def merge(self, phase: Phase, progress: Progress) -> str:
        """Put the outcome in the place of the phase's best state.

        Returns:
            A line for the report.

        Raises:
            TrainingError: If no cached phase came before.
        """
        if progress.probe is None:
            raise TrainingError(f"phase {phase.name}: no probe before it to merge with or to start from")
        if phase.merge == "soup":
            return self._into_soup(phase, progress)
        tuned, probe = progress.best, progress.probe
        if tuned is None:
            progress.best = probe
            return f"phase {phase.name}: nothing to average with the probe, which is the result"
        try:
            found = self._between(probe[1], tuned[1], phase.merge_share, phase)
        except DivergedError:
            return f"phase {phase.name}: its average with the probe is not a number; the fine-tuned weights are kept"
        progress.best = found
        return (
            f"phase {phase.name}: weights {phase.merge_share:g} of the way from the probe to the fine-tuned ones; "
            f"validation AUROC {found[0][0]:.3f} (probe {probe[0][0]:.3f}, fine-tuned {tuned[0][0]:.3f})"
        )

    def _into_soup(self, phase: Phase, progress: Progress) -> str:
        """Average with the probe and the runs before, as long as that validates no worse."""
        if progress.soup is None and progress.probe is not None:
            progress.soup, progress.in_soup = progress.probe, 1
        alone, soup = progress.best, progress.soup
        if soup is None or alone is None:
            progress.best = soup
            return f"phase {phase.name}: nothing to add to the average of probe and runs"
        told = f"validation AUROC of the average without it {soup[0][0]:.3f}, alone {alone[0][0]:.3f}"
        try:
            both = self._between(soup[1], alone[1], 1 / (progress.in_soup + 1), phase)
        except DivergedError:
            both = None
        if both is not None:
            told += f", with it {both[0][0]:.3f}"
        if both is not None and both[0] >= max(soup[0], alone[0]):
            progress.soup, progress.in_soup = both, progress.in_soup + 1
            outcome = f"joins the average, now of {progress.in_soup}"
        elif alone[0] > soup[0]:
            progress.soup, progress.in_soup = alone, 1
            outcome = "takes the average's place"
        else:
            outcome = "left out of the average"
        progress.best = progress.soup
        return f"phase {phase.name}: {outcome}; {told}"

    def _between(self, first: dict[str, Any], second: dict[str, Any], share: float, phase: Phase) -> Best:
        """The average with its figures.

        Raises:
            DivergedError: If a logit or a statistic of it is not a number.
        """
        names = {name for name, _ in self.classifier.named_parameters()}
        state = interpolate(first, second, share, names)
        self.classifier.load_state_dict(state)
        if phase.batch_norm != "eval" and batch_norms(self.classifier.backbone):
            recompute_on(self.classifier, self.train, self.config, self.device)
            state = {name: value.clone() for name, value in self.classifier.state_dict().items()}
        figures = self.measure()
        return rank(figures.auroc, figures.loss), state
