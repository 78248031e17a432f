"""The mean of one stage's map: what kind of picture a slice is, told below the layers that know the task."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.backbones import Backbone
from models.detectors.cells import stage_grids

STRIDE = 16


def familiar_stage(backbone: Backbone, image_size: int, last: str = "") -> str:
    """The last stage whose map has a stride of 16 pixels or less, from stem to top; the first one where none has.

    Args:
        backbone: Any network.
        image_size: Side of the slices in pixels.
        last: No stage after this one is taken; empty for all.
    """
    names = list(backbone.stages)
    names = names[: names.index(last) + 1] if last else names
    grids = stage_grids(backbone, image_size)
    fitting = [name for name in names if round(grids[name].step) <= STRIDE]
    return fitting[-1] if fitting else names[0]


def with_stage_mean(
    backbone: Backbone, stage: str, run: Callable[[Tensor], Tensor], alone: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """A function of slices whose rows (M, K) are followed by the mean (M, C) of a stage's map.

    The map is that of the pass that `run` makes anyway; where it makes none, or not one of each slice, `alone` makes
    it.

    Args:
        backbone: The network.
        stage: One of its stages, which the passes reach.
        run: Slices (M, C, S, S) to rows (M, K), by one pass of each slice, in any batches, or otherwise.
        alone: Passes slices through the network up to the stage.
    """

    def both(slices: Tensor) -> Tensor:
        found: list[Tensor] = []
        handle = backbone.stages[stage].register_forward_hook(
            lambda _module, _inputs, output: found.append(output.float().mean(dim=(2, 3)))
        )
        try:
            rows = run(slices)
            if sum(map(len, found)) != len(slices):
                found.clear()
                alone(slices)
        finally:
            handle.remove()
        return torch.cat([rows.float(), torch.cat(found)], dim=1)

    return both
