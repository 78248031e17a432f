"""How long scoring would take on this machine: measured on the series at hand, never looked up."""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.check.records import Timing
from pipeline.detect.slices import SCORING_BATCH, Slices
from pipeline.scan import SeriesRef
from pipeline.score.scorer import Scorer

ENOUGH_SLICES = 4 * SCORING_BATCH


@dataclass(slots=True)
class SampleShelf:
    """The first few prepared samples, kept for timing the network.

    Attributes:
        samples: Slices (N, C, S, S) each.
    """

    samples: list[Slices] = field(default_factory=list)

    def offer(self, sample: Slices) -> None:
        """Keep a sample unless there are enough."""
        if sum(map(len, self.samples)) < ENOUGH_SLICES:
            self.samples.append(sample)


def time_network(scorer: Scorer, samples: Sequence[Slices]) -> tuple[int, float]:
    """Run the network on samples, after a first run that is not counted.

    Args:
        scorer: The bundle's.
        samples: At least one.

    Returns:
        Number of batches, and seconds of one.
    """
    batches = math.ceil(sum(map(len, samples)) / SCORING_BATCH)
    scorer.score(samples[:1])
    start = time.perf_counter()
    scorer.score(samples)
    return batches, (time.perf_counter() - start) / batches


def batch_count(refs: Sequence[SeriesRef], scorer: Scorer) -> int:
    """Number of batches that scoring these series takes: each chunk of the ledger fills its last batch up."""
    most = scorer.record.preparation.slices
    slices = [min(ref.images, most) for ref in refs]
    size = scorer.chunk_series
    return sum(math.ceil(sum(slices[n : n + size]) / SCORING_BATCH) for n in range(0, len(slices), size))


def with_network(timing: Timing, scorer: Scorer, samples: Sequence[Slices], refs: Sequence[SeriesRef]) -> Timing:
    """A timing with the network's share, where there is a sample to run it on.

    Args:
        timing: Of reading.
        scorer: The bundle's.
        samples: Prepared from some of `refs`.
        refs: The series that would be scored.
    """
    if not samples:
        return timing
    batches, seconds = time_network(scorer, samples)
    return dataclasses.replace(
        timing,
        device=scorer.device.type,
        measured_batches=batches,
        batch_seconds=seconds,
        batches=batch_count(refs, scorer),
    )
