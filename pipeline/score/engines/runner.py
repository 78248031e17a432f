"""Running a model by its engine: close calls again in eager float32, and smaller batches where memory is short."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.detect.slices import Slices, in_batches
from pipeline.score.engines.choose import Engine
from pipeline.score.outcome import Outcome
from pipeline.score.scan_models import ScanModel

SHORT = ("out of memory", "not enough memory", "can't allocate memory", "bad_alloc")


class Runner:
    """A model and what runs it.

    Args:
        model: The bundle's.
        device: Where its network runs.
        engine: What runs it.

    Attributes:
        engine: As given; eager with half the batch from where memory did not do.
    """

    def __init__(self, model: ScanModel, device: torch.device, engine: Engine | None = None) -> None:
        self.model, self.device = model, device
        self.engine = engine or Engine()
        self._network = model.network

    def outcomes(self, samples: Sequence[Slices]) -> list[Outcome]:
        """The outcomes of prepared scans (N, C, S, S) each.

        Where memory runs out, all of them are computed anew by eager float32 with batches of half the size.

        Raises:
            MemoryError: If not even a single slice fits.
        """
        while True:
            try:
                return self._outcomes(samples)
            except (MemoryError, RuntimeError) as error:
                if not is_short(error):
                    raise
                if self.engine.batch == 1:
                    raise MemoryError("not enough memory for a single slice") from error
                self.engine = Engine(batch=self.engine.batch // 2, note=self.engine.note)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()

    def _outcomes(self, samples: Sequence[Slices]) -> list[Outcome]:
        engine = self.engine
        fits = engine.channels is None or all(sample.shape[1] == engine.channels for sample in samples)
        if engine.run is None or not fits:
            return [self.model.decide(rows) for rows in self._eager(samples)]
        found = in_batches(samples, engine.run, self.device, batch=engine.batch)
        close = [n for n, rows in enumerate(found) if self.model.near(rows, engine.tolerance)]
        for n, rows in zip(close, self._eager([samples[n] for n in close]), strict=True):
            found[n] = rows
        return [self.model.decide(rows) for rows in found]

    def _eager(self, samples: Sequence[Slices]) -> list[Tensor]:
        return in_batches(samples, self._network, self.device, batch=self.engine.batch)


def is_short(error: BaseException) -> bool:
    """Whether an error says that memory, or a GPU's, ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in SHORT)
