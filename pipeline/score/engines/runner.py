"""Running a model by its engine: what it leaves in doubt again, and smaller batches where memory is short."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.detect.slices import Slices, in_batches
from pipeline.score.engines.engine import Engine
from pipeline.score.engines.seal import in_doubt
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
            engine = Engine(batch=engine.batch)
        return [self.model.decide(rows) for rows in self._rows(samples, engine)]

    def _rows(self, samples: Sequence[Slices], engine: Engine) -> list[Tensor]:
        """Rows of each scan: what an engine leaves in doubt is computed again by the next, more exact one."""
        run = self._network if engine.run is None else engine.run
        found = in_batches(samples, run, self.device, batch=engine.batch)
        if engine.run is None:
            return found
        doubtful = [n for n, rows in enumerate(found) if in_doubt(self.model, rows, engine.tolerance, engine.reach)]
        exact = engine.exact or Engine()
        for n, rows in zip(doubtful, self._rows([samples[n] for n in doubtful], exact), strict=True):
            found[n] = rows
        return found


def is_short(error: BaseException) -> bool:
    """Whether an error says that memory, or a GPU's, ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in SHORT)
