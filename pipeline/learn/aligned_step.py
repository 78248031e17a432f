"""One step on labelled source bags and unlabelled target bags, in flat memory."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from models.classifier import SliceBagClassifier
from pipeline.learn.parts import MICRO_SLICES, Part

Pool = Callable[[Part], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


def backward_together(
    classifier: SliceBagClassifier, source: list[Part], target: list[Part], *, pool: Pool, loss: Loss
) -> None:
    """Add to every parameter the gradient of a loss of both sides' pooled features.

    A loss that compares two whole batches cannot be taken part by part. Where the parts together exceed
    MICRO_SLICES slices, all pooled features are computed without a graph, the loss gives its gradient at them, and
    then every part is computed again, with a graph, to carry that gradient on to the backbone. Random draws and
    batch-norm statistics of the second time are those of the first.

    Args:
        classifier: In the mode it is trained in.
        source, target: Parts of the two batches.
        pool: Pooled features (b, F) of a part.
        loss: Scalar of source features (B, F) and target features (B', F); may use the head.

    Source:
        Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, section 3.
    """
    parts = [*source, *target]
    bags = sum(len(part.mask) for part in source)
    if sum(int(part.mask.sum()) for part in parts) <= MICRO_SLICES:
        found = torch.cat([pool(part) for part in parts])
        loss(found[:bags], found[bags:]).backward()
        return
    draws: list[dict[str, Tensor]] = []
    with torch.no_grad(), _statistics_restored(classifier):
        pieces: list[Tensor] = []
        for part in parts:
            draws.append(_random_state())
            pieces.append(pool(part))
    leaf = torch.cat(pieces).requires_grad_()
    loss(leaf[:bags], leaf[bags:]).backward()
    gradient = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
    for part, state, piece in zip(parts, draws, gradient.split([len(p.mask) for p in parts]), strict=True):
        _set_random_state(state)
        again = pool(part)
        if again.requires_grad:
            torch.autograd.backward(again, piece)


@contextlib.contextmanager
def _statistics_restored(classifier: SliceBagClassifier) -> Iterator[None]:
    """Put the running statistics of batch norm back at the end."""
    layers = [m for m in classifier.modules() if isinstance(m, _BatchNorm) and m.training]
    before = [{name: buffer.clone() for name, buffer in layer.named_buffers()} for layer in layers]
    yield
    for layer, buffers in zip(layers, before, strict=True):
        for name, buffer in layer.named_buffers():
            buffer.copy_(buffers[name])


def _random_state() -> dict[str, Tensor]:
    """State of the global generators, by device."""
    cuda = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def _set_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
