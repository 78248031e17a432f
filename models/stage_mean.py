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


def with_stage_mean(backbone: Backbone, stage: str, run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A function of slices whose rows (M, K) are followed by the mean (M, C) of a stage's map in the same pass.

    Args:
        backbone: Network that `run` passes each slice through once.
        stage: One of its stages, which the pass reaches.
        run: Slices (M, C, S, S) to rows (M, K).
    """

    def both(slices: Tensor) -> Tensor:
        found: list[Tensor] = []
        handle = backbone.stages[stage].register_forward_hook(
            lambda _module, _inputs, output: found.append(output.float().mean(dim=(2, 3)))
        )
        try:
            rows = run(slices)
        finally:
            handle.remove()
        (mean,) = found
        return torch.cat([rows.float(), mean], dim=1)

    return both
