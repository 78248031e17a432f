"""The student of student-teacher matching: the teacher's own architecture, with random weights."""

from torch import Tensor, nn

from models.backbones import Backbone, build_backbone

APART = 7919


class Student(nn.Module):
    """A backbone's stages from the stem to the last one compared, untrained.

    Args:
        teacher: Backbone whose architecture is taken, not its weights.
        stages: Stages whose maps are given, from stem to top.
        seed: Of the weights; shifted, since a teacher with random weights of the same seed would be matched from the
            start. The global generator is left as it was.
    """

    def __init__(self, teacher: Backbone, stages: tuple[str, ...], *, seed: int) -> None:
        super().__init__()
        twin = build_backbone(teacher.name, seed=seed + APART, variant=teacher.variant)
        last = twin.stage_names.index(stages[-1])
        self.stages = nn.ModuleDict({name: twin.stages[name] for name in twin.stage_names[: last + 1]})
        self.compared = stages

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w) of the compared stages, of normalised images (B, 3, S, S)."""
        maps: list[Tensor] = []
        for name, stage in self.stages.items():
            images = stage(images)
            if name in self.compared:
                maps.append(images)
        return maps
