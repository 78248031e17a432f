"""Multi-frame objects with functional groups: position, orientation, spacing and rescale by frame or for all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.pipeline.ingest.truth.case import HIGHDICOM, Expected, case, read, refuse
from tests.pipeline.ingest.truth.dicom import (
    ENHANCED_CT,
    ENHANCED_MR,
    Stack,
    image,
    item,
    numbers,
    save,
    single,
)

Groups = dict[str, list[Dataset]]
More = Callable[[int], Groups]
SHUFFLED = (3, 1, 4, 0, 5, 7, 2, 6)


def place(stack: Stack, k: int) -> Groups:
    return {"PlanePositionSequence": [item(ImagePositionPatient=stack.place(k))]}


def direction(stack: Stack) -> Groups:
    cosines = [float(round(x, 6)) for x in (*stack.row, *stack.column)]
    return {"PlaneOrientationSequence": [item(ImageOrientationPatient=cosines)]}


def measures(spacing: Sequence[float] = (0.8, 0.7)) -> Groups:
    return {"PixelMeasuresSequence": [item(PixelSpacing=list(spacing), SliceThickness=5)]}


def rescaled(slope: float = 1, intercept: float = -1024) -> Groups:
    made = item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")
    return {"PixelValueTransformationSequence": [made]}


def content(**tags: Any) -> Groups:
    return {"FrameContentSequence": [item(**tags)]}


def enhanced(
    frames: Sequence[tuple[np.ndarray, Groups]], shared: Groups, sop_class: str = ENHANCED_CT, **tags: Any
) -> Dataset:
    """An object of these frames: stored numbers and what belongs to each frame alone."""
    modality = "MR" if sop_class == ENHANCED_MR else "CT"
    module = image(np.stack([stored for stored, _ in frames]))
    made = single(modality, "2.1", module, FrameOfReferenceUID="1.2.9", ImageType=["ORIGINAL", "PRIMARY", "VOLUME"])
    made.SOPClassUID = sop_class
    made.SharedFunctionalGroupsSequence = [item(**shared)]
    made.PerFrameFunctionalGroupsSequence = [item(**own) for _, own in frames]
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def frames_of(
    stack: Stack, order: Sequence[int] = SHUFFLED, more: More | None = None
) -> list[tuple[np.ndarray, Groups]]:
    """The slices of a stack with their places, in some order."""
    return [(stack.stored[k], {**place(stack, k), **(more(k) if more else {})}) for k in order]


def common(stack: Stack) -> Groups:
    return {**direction(stack), **measures(), **rescaled()}


@case(row=27, variants={"in_order": (range(8),), "shuffled": (SHUFFLED,)})
def frames_in(folder: Path, order: Sequence[int]) -> Expected:
    """Enhanced CT: frames lie where their own group says, in whatever order they come (PS3.3 C.7.6.16.2.3)."""
    stack = Stack()
    save(enhanced(frames_of(stack, order), common(stack)), folder / "a.dcm")
    return read(stack.truth(), proof=(HIGHDICOM,))


@case()
def everything_in_the_frames_own_group(folder: Path) -> Expected:
    """A macro may stand in the shared group or in every frame's own (PS3.3 C.7.6.16.1)."""
    stack = Stack(row=(0, 1, 0), column=(0, 0, -1), step=(-2.5, 0, 0))
    save(enhanced(frames_of(stack, more=lambda k: common(stack)), {}), folder / "a.dcm")
    return read(stack.truth(), proof=(HIGHDICOM,))


@case()
def rescale_per_frame_wins(folder: Path) -> Expected:
    """The frame's own rescale wins over a shared one and over one at the top level."""
    stack = Stack()
    frames = frames_of(stack, more=lambda k: rescaled(k + 0.5, -k))
    made = enhanced(frames, {**common(stack), **rescaled(9, 9)}, RescaleSlope=7, RescaleIntercept=7)
    save(made, folder / "a.dcm")
    scale = np.arange(8.0)[:, None, None]
    return read(stack.truth(stack.stored * (scale + 0.5) - scale))


@case()
def gantry_tilt(folder: Path) -> Expected:
    """Tilt shears the affine of a multi-frame object too."""
    stack = Stack(step=(0, 0.6, 2.4))
    save(enhanced(frames_of(stack), common(stack)), folder / "a.dcm")
    return read(stack.truth())


@case(variants={"missing": ((0, 1, 2, 4, 5, 6), "MISSING_SLICE"), "repeated": ((0, 1, 2, 2, 3), "DUPLICATE_POSITION")})
def frames_do_not_fit(folder: Path, order: Sequence[int], code: str) -> Expected:
    """A gap between frames, or two at one place that nothing tells apart: refused."""
    stack = Stack()
    save(enhanced(frames_of(stack, order), common(stack)), folder / "a.dcm")
    return refuse(code)


@case()
def frame_without_a_place(folder: Path) -> Expected:
    """Fewer per-frame groups than frames: the last frame lies nowhere; refused."""
    stack = Stack()
    made = enhanced(frames_of(stack), common(stack))
    made.PerFrameFunctionalGroupsSequence = made.PerFrameFunctionalGroupsSequence[:7]
    save(made, folder / "a.dcm")
    return refuse("NO_POSITION")


def two(stack: Stack, other: Stack, one: More, two: More) -> list[tuple[np.ndarray, Groups]]:
    """Frames of two stacks, taking turns."""
    pairs = zip(frames_of(stack, more=one), frames_of(other, more=two), strict=True)
    return [frame for pair in pairs for frame in pair]


def echo(time: float) -> Groups:
    return {"MREchoSequence": [item(EffectiveEchoTime=time)]}


def b_value(value: float) -> Groups:
    return {"MRDiffusionSequence": [item(DiffusionBValue=value, DiffusionDirectionality="NONE")]}


@case(
    variants={
        "time_points": (content(TemporalPositionIndex=1), content(TemporalPositionIndex=2)),
        "echoes": (echo(4.6), echo(9.2)),
        "b_values": (b_value(0.0), b_value(1000.0)),
        "frame_types": tuple(
            {"MRImageFrameTypeSequence": [item(FrameType=["ORIGINAL", "PRIMARY", kind, "NONE"])]} for kind in ("M", "P")
        ),
        "trigger_delays": tuple(
            {"CardiacSynchronizationSequence": [item(NominalCardiacTriggerDelayTime=time)]} for time in (0.0, 400.0)
        ),
        "flip_angles": tuple({"MRTimingAndRelatedParametersSequence": [item(FlipAngle=angle)]} for angle in (5, 26)),
    }
)
def two_volumes_of_one_mr(folder: Path, one: Groups, other: Groups) -> Expected:
    """Enhanced MR whose frames repeat positions: split by what tells them apart (PS3.3 C.8.13)."""
    first, second = Stack(), Stack(stored=numbers((8, 6, 5), seed=8))
    frames = two(first, second, lambda k: one, lambda k: other)
    save(enhanced(frames, common(first), ENHANCED_MR), folder / "a.dcm")
    return read(first.truth(modality="MR"), second.truth(modality="MR"))


@case()
def dimension_index_tells_volumes_apart(folder: Path) -> Expected:
    """A dimension that is no position splits frames at one place (PS3.3 C.7.6.17)."""
    first, second = Stack(), Stack(stored=numbers((8, 6, 5), seed=8))
    frames = two(
        first,
        second,
        lambda k: content(DimensionIndexValues=[k + 1, 1]),
        lambda k: content(DimensionIndexValues=[k + 1, 2]),
    )
    pointers = [item(DimensionIndexPointer=0x00200032), item(DimensionIndexPointer=0x00189079)]
    save(enhanced(frames, common(first), ENHANCED_MR, DimensionIndexSequence=pointers), folder / "a.dcm")
    return read(first.truth(modality="MR"), second.truth(modality="MR"))


@case(variants={"parallel": ((0, 0, 2.5), (1, 0, 0), (0, 1, 0)), "crossed": ((-2.5, 0, 0), (0, 1, 0), (0, 0, -1))})
def two_stacks(folder: Path, step: tuple, row: tuple, column: tuple) -> Expected:
    """Stack ID groups frames (PS3.3 C.7.6.16.2.2): parallel stacks with a space between are two volumes, no gap."""
    lower = Stack()
    upper = Stack(stored=numbers((8, 6, 5), seed=8), row=row, column=column, step=step, first=(-100.0, -90.0, 300.0))
    frames = two(
        lower, upper, lambda k: {**content(StackID="1", InStackPositionNumber=k + 1), **direction(lower)},
        lambda k: {**content(StackID="2", InStackPositionNumber=k + 1), **direction(upper)},
    )  # fmt: skip
    save(enhanced(frames, {**measures(), **rescaled()}), folder / "a.dcm")
    return read(lower.truth(), upper.truth())
