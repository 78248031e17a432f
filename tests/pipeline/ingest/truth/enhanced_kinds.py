"""Objects with functional groups that are not plain Enhanced CT or MR."""

from pathlib import Path

from tests.pipeline.ingest.truth.case import HIGHDICOM, Expected, Truth, case, read
from tests.pipeline.ingest.truth.dicom import (
    ENHANCED_MR,
    STORAGE,
    Stack,
    image,
    item,
    numbers,
    save,
    single,
)
from tests.pipeline.ingest.truth.enhanced import (
    SHUFFLED,
    common,
    content,
    direction,
    enhanced,
    frames_of,
    measures,
    place,
    rescaled,
)


@case()
def legacy_converted(folder: Path) -> Expected:
    """Legacy Converted Enhanced CT (PS3.3 A.70): converted attributes stand in sequences of their own."""
    stack = Stack()
    more = {"UnassignedPerFrameConvertedAttributesSequence": [item(SliceLocation=1.0)]}
    made = enhanced(frames_of(stack, more=lambda k: more), common(stack), STORAGE + "2.2")
    save(made, folder / "a.dcm")
    return read(stack.truth(), proof=(HIGHDICOM,))


@case()
def breast_tomosynthesis(folder: Path) -> Expected:
    """Tomosynthesis (PS3.3 A.55) is a radiograph's modality, yet its functional groups place every frame."""
    stack = Stack()
    made = enhanced(frames_of(stack), {**direction(stack), **measures(), **rescaled(1, 0)}, STORAGE + "13.1.3")
    made.Modality = "MG"
    save(made, folder / "a.dcm")
    return read(stack.truth(stack.stored, modality="MG"))


@case()
def one_frame(folder: Path) -> Expected:
    """An enhanced object of one frame takes its third step from Slice Thickness."""
    stack = Stack(stored=numbers((1, 6, 5)), step=(0, 0, 5))
    save(enhanced(frames_of(stack, [0]), common(stack)), folder / "a.dcm")
    return read(stack.truth())


@case()
def a_file_for_each_frame(folder: Path) -> Expected:
    """Enhanced objects of one frame each make a stack as plain slices do."""
    stack = Stack()
    for n, k in enumerate(SHUFFLED):
        made = enhanced(frames_of(stack, [k]), common(stack), SOPInstanceUID=f"1.2.3.4.5.{k}", InstanceNumber=n)
        save(made, folder / f"{n}.dcm")
    return read(stack.truth())


@case()
def cine_of_one_slice(folder: Path) -> Expected:
    """A shared position for all frames and a time for each: one volume of one slice for each time."""
    stack = Stack(stored=numbers((3, 6, 5)))
    frames = [(stack.stored[k], content(TemporalPositionIndex=k + 1)) for k in range(3)]
    save(enhanced(frames, {**common(stack), **place(stack, 0)}, ENHANCED_MR), folder / "a.dcm")
    lone = [Stack(stored=stack.stored[k : k + 1], step=(0, 0, 5)).truth(modality="MR") for k in range(3)]
    return read(*lone)


@case()
def two_enhanced_files_of_one_series(folder: Path) -> Expected:
    """Two multi-frame objects of one series are two volumes."""
    first, second = Stack(), Stack(stored=numbers((8, 6, 5), seed=8))
    save(enhanced(frames_of(first), common(first)), folder / "a.dcm")
    again = enhanced(frames_of(second), common(second), SOPInstanceUID="1.2.3.4.5.2", InstanceNumber=2)
    save(again, folder / "b.dcm")
    return read(first.truth(), second.truth())


@case()
def ultrasound_volume(folder: Path) -> Expected:
    """Enhanced US Volume lies in a frame of reference of its own (PS3.3 C.8.24): frames as stored, no place claimed."""
    stored = numbers((4, 6, 8), 256)
    made = single("US", "6.2", image(stored, 8, 8))
    made.SharedFunctionalGroupsSequence = [item(**measures())]
    made.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionVolumeSequence=[item(ImagePositionVolume=[0.0, 0.0, float(k)])]) for k in range(4)
    ]
    save(made, folder / "a.dcm")
    return read(Truth(stored.transpose(2, 1, 0), None, "US"))
