"""Training by several processes at once (torchrun): each takes its share of every batch, and gradients are added up.

The loss of a batch is a sum over its scans divided by one number that every rank knows, L = sum_i l_i / D. Rank r
computes the gradient of sum_{i in share r} l_i / D; added over the ranks these are the gradient of L, whatever the
sizes of the shares. Every rank then takes the same step, so that the networks stay equal.

Source:
    Goyal et al. 2017, Accurate, Large Minibatch SGD, section 2 and remark 3 (normalise by the size of the whole batch).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

from models.strategies.phase import Phase
from pipeline.config import Config
from pipeline.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of one training.

    Attributes:
        rank: This one's number, from 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """This rank's rows of so many: neighbours, all rows are someone's, and sizes differ by one at most."""
        return slice(self.rank * rows // self.count, (self.rank + 1) * rows // self.count)

    def every(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's part of a list of work: every `count`-th."""
        return items[self.rank :: self.count]

    def meet(self) -> None:
        """Wait until all ranks are here."""
        if self.count > 1:
            distributed.barrier()

    def start_equal(self, module: torch.nn.Module) -> None:
        """Give all ranks the first one's weights and statistics."""
        if self.count > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def agree(self, values: Sequence[float]) -> list[float]:
        """The first rank's numbers, so that all ranks decide alike."""
        if self.count == 1:
            return list(values)
        said = torch.tensor(values, dtype=torch.float64, device=_exchange_device())
        distributed.broadcast(said, src=0)
        return [float(value) for value in said]

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter], value: float) -> float:
        """Add gradients over the ranks in place, in one exchange, and a number beside them.

        A parameter that no rank has a gradient of keeps none, as it would in one process.

        Args:
            parameters: The same ones in the same order at every rank.
            value: A number, such as this rank's part of the loss; not a number at any rank makes it so at all.

        Returns:
            The sum of `value` over the ranks.
        """
        if self.count == 1:
            return value
        trained = [p for p in parameters if p.requires_grad]
        about = torch.tensor([value, *(p.grad is not None for p in trained)], device=trained[0].device)
        flat = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained]
        buffer = torch.cat([about, *flat])
        distributed.all_reduce(buffer)
        at = 1 + len(trained)
        for parameter, found in zip(trained, buffer[1:at].tolist(), strict=True):
            if found:
                parameter.grad = buffer[at : at + parameter.numel()].view_as(parameter).clone()
            at += parameter.numel()
        return float(buffer[0])

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """All ranks' rows of a table in order, from each one's `share`.

        Args:
            rows: This rank's, (n_r, L).
            count: n, rows of the whole table.

        Returns:
            (n, L), the same at every rank.
        """
        if self.count == 1:
            return rows
        table = torch.zeros(count, rows.shape[1], dtype=rows.dtype, device=_exchange_device())
        table[self.share(count)] = rows.to(table.device)
        distributed.all_reduce(table)
        return table.to(rows.device)


def current_ranks() -> Ranks:
    """The ranks of the process group that this process has joined; a single one where it has joined none."""
    if distributed.is_available() and distributed.is_initialized():
        return Ranks(distributed.get_rank(), distributed.get_world_size())
    return Ranks()


def _exchange_device() -> torch.device:
    """Where tensors lie that are exchanged: NCCL takes those of the GPU alone."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")


def check_ranks(config: Config, phases: Sequence[Phase], ranks: Ranks) -> None:
    """Refuse what does not give the result of one process, or may not end at all ranks at the same time.

    Raises:
        ConfigError: In words, which setting it is.
    """
    if ranks.count == 1:
        return
    whole = "must be trained by one process"
    if config.task == "one_class":
        raise ConfigError(f"torchrun: task one_class has no training loop to share; it {whole}")
    for name in ("strategy", "backbone"):
        if getattr(config, name) == "auto":
            raise ConfigError(f"torchrun: {name} auto decides by the clock, which differs from rank to rank; name one")
    if config.align != "none":
        raise ConfigError(f"torchrun: align={config.align} compares whole batches; it {whole}")
    for phase in phases:
        if phase.objective == "self_supervised":
            raise ConfigError(f"torchrun: phase {phase.name} of {config.strategy} compares whole batches; it {whole}")
        if phase.batch_norm != "eval":
            raise ConfigError(
                f"torchrun: phase {phase.name} of {config.strategy} takes batch-norm statistics of whole batches; it "
                f"{whole}"
            )
