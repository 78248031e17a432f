"""Which files make one volume: copies, echoes, time points, orientations, sizes, folders."""

from pathlib import Path

import numpy as np

from tests.pipeline.ingest.truth.case import HIGHDICOM, SITK, Expected, case, read, refuse
from tests.pipeline.ingest.truth.dicom import MR, Stack, numbers, save

BOTH = (HIGHDICOM, SITK)


def again(**more: object) -> Stack:
    """A second stack of the same series, with other pixels."""
    return Stack(**{"stored": numbers((8, 6, 5), seed=8), "sop_root": "1.2.3.6", **more})


def pair(folder: Path, one: Stack, other: Stack) -> Expected:
    """Both stacks are read, one volume each."""
    one.write(folder / "x")
    other.write(folder / "y")
    return read(one.truth(), other.truth())


@case(row=9)
def localizer_in_the_series(folder: Path) -> Expected:
    """A scout (ImageType LOCALIZER, PS3.3 C.7.6.1.1.2) stays out of the volume."""
    stack = Stack()
    stack.write(folder)
    save(again(first=(0, 0, 0)).dataset(3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), folder / "s.dcm")
    return read(stack.truth(), ignored="LOCALIZER")


@case(row=14, variants={"times": ({"EchoTime": 4.6}, {"EchoTime": 9.2}),
                        "numbers": ({"EchoNumbers": 1}, {"EchoNumbers": 2})})  # fmt: skip
def two_echoes(folder: Path, first: dict, second: dict) -> Expected:
    """Each echo is a volume of its own (PS3.3 C.8.3.1)."""
    common = {"Modality": "MR", "SOPClassUID": MR}
    one, other = Stack(tags={**common, **first}), again(tags={**common, **second})
    one.write(folder / "x")
    other.write(folder / "y")
    return read(one.truth(modality="MR"), other.truth(modality="MR"))


@case(
    variants={
        "temporal_positions": tuple({"TemporalPositionIdentifier": n} for n in (1, 2)),
        "acquisitions": tuple({"AcquisitionNumber": n} for n in (1, 2)),
        "b_values": tuple({"DiffusionBValue": float(n)} for n in (0, 1000)),
        "directions": tuple({"DiffusionGradientOrientation": [float(x) for x in np.eye(3)[n]]} for n in (0, 1)),
        "image_types": tuple({"ImageType": ["ORIGINAL", "PRIMARY", kind]} for kind in ("M", "P")),
        "trigger_times": tuple({"TriggerTime": n} for n in (0, 400)),
        "inversion_times": tuple({"InversionTime": n} for n in (100, 900)),
        "flip_angles": tuple({"FlipAngle": n} for n in (5, 26)),
        "frame_reference_times": tuple({"FrameReferenceTime": n} for n in (5000, 15000)),
    }
)
def two_volumes_told_apart(folder: Path, first: dict, second: dict) -> Expected:
    """Positions repeat, and an element of the header tells the volumes apart: one volume each."""
    return pair(folder, Stack(tags=first), again(tags=second))


@case()
def three_time_points(folder: Path) -> Expected:
    """A time series of three volumes, in one folder."""
    stacks = [again(stored=numbers((8, 6, 5), seed=n), sop_root=f"1.2.3.6.{n}") for n in range(3)]
    for n, stack in enumerate(stacks):
        stack.tags = {"TemporalPositionIdentifier": n + 1, "NumberOfTemporalPositions": 3}
        stack.write(folder / str(n))
    return read(*(stack.truth() for stack in stacks))


@case()
def echoes_and_time_points(folder: Path) -> Expected:
    """Two elements together tell four volumes apart."""
    stacks = [again(stored=numbers((8, 6, 5), seed=n), sop_root=f"1.2.3.6.{n}") for n in range(4)]
    for n, stack in enumerate(stacks):
        stack.tags = {"DiffusionBValue": 500.0 * (n // 2), "AcquisitionNumber": n % 2}
        stack.write(folder / str(n))
    return read(*(stack.truth() for stack in stacks))


@case()
def phases_with_times_of_their_own_in_each_slice(folder: Path) -> Expected:
    """Trigger times differ in every image, so they would tear the stacks apart; nothing else is there: refused."""
    one, other = Stack(), again()
    one.write(folder / "x", lambda made, k: setattr(made, "TriggerTime", 10 + k))
    other.write(folder / "y", lambda made, k: setattr(made, "TriggerTime", 500 + k))
    return refuse("DUPLICATE_POSITION")


@case(row=23)
def acquisition_number_varies(folder: Path) -> Expected:
    """Where no position repeats, Acquisition Number does not split (PS3.3 C.7.6.1)."""
    Stack().write(folder, lambda made, k: setattr(made, "AcquisitionNumber", k // 3))
    return read(Stack().truth(), proof=BOTH)


@case()
def two_orientations(folder: Path) -> Expected:
    """Axial and sagittal slices of one series are two volumes."""
    return pair(folder, Stack(), again(row=(0, 1, 0), column=(0, 0, -1), step=(-2.5, 0, 0)))


@case()
def two_pixel_spacings(folder: Path) -> Expected:
    """Two reconstructions of one series, with other pixels, are two volumes."""
    return pair(folder, Stack(), again(first=(-100.0, -90.0, 500.0), tags={"PixelSpacing": [1.6, 1.4]}))


@case()
def two_sizes(folder: Path) -> Expected:
    """Two matrices of one series are two volumes."""
    return pair(folder, Stack(), again(stored=numbers((8, 9, 7), seed=8)))


@case()
def two_frames_of_reference(folder: Path) -> Expected:
    """Positions of two frames of reference cannot be compared (PS3.3 C.7.4.1): two volumes."""
    return pair(folder, Stack(), again(tags={"FrameOfReferenceUID": "1.2.10"}))


@case()
def pixel_spacing_rounded_unlike(folder: Path) -> Expected:
    """Pixel Spacing that differs in the sixth digit is rounding, and the stack stays whole."""

    def change(made, k):
        made.PixelSpacing = ["0.8000501", "0.7"] if k % 2 else ["0.8000499", "0.7"]

    Stack().write(folder, change)
    return read(Stack(tags={"PixelSpacing": [0.80005, 0.7]}).truth(), proof=(SITK,))


@case()
def orientation_rounded_unlike(folder: Path) -> Expected:
    """Direction cosines that differ in the fifth digit are rounding, and the stack stays whole."""

    def change(made, k):
        if k % 2:
            made.ImageOrientationPatient = [1, 0.00001, 0, -0.00001, 1, 0]

    Stack().write(folder, change)
    return read(Stack().truth(), proof=(SITK,))


@case()
def one_slice_of_another_size(folder: Path) -> Expected:
    """A slice of another size is a volume of its own; the gap it leaves refuses the rest."""
    other = again(stored=numbers((8, 9, 7), seed=8))
    Stack().write(folder, leave_out=[4])
    save(other.dataset(4), folder / "z.dcm")
    lone = Stack(stored=other.stored[4:5], first=other.place(4), step=(0, 0, 5))
    return read(lone.truth(), refused="MISSING_SLICE")


@case()
def two_series_in_one_folder(folder: Path) -> Expected:
    """Identity comes from Series Instance UIDs, not from folders (PS3.3 C.7.3.1)."""
    one, other = Stack(), again(uid="1.2.3.5")
    one.write(folder)
    for k in range(8):
        save(other.dataset(k), folder / f"other_{k}.dcm")
    return read(one.truth(), other.truth(), proof=BOTH)


@case()
def one_series_in_two_folders(folder: Path) -> Expected:
    """A series spread over folders is one volume."""
    stack = Stack()
    for k in range(8):
        save(stack.dataset(k), folder / "ab"[k % 2] / f"{k}.dcm")
    return read(stack.truth(), proof=(HIGHDICOM,))


@case(variants={"patients": {"PatientID": "P2"}, "modalities": {"Modality": "MR"}})
def one_series_uid_for_two(folder: Path, tags: dict) -> Expected:
    """UIDs that a faulty exporter gave twice never join two patients or modalities in one volume."""
    one, other = Stack(), again(tags=tags)
    one.write(folder / "x")
    other.write(folder / "y")
    return read(one.truth(), other.truth(modality=tags.get("Modality", "CT")))


@case()
def slice_of_another_patient(folder: Path) -> Expected:
    """One slice bears another patient's id: it is a volume of its own, and the gap it leaves refuses the rest."""
    stack = Stack()
    stack.write(folder, lambda made, k: setattr(made, "PatientID", "P2" if k == 4 else "P1"))
    lone = Stack(stored=stack.stored[4:5], first=stack.place(4), step=(0, 0, 5))
    return read(lone.truth(), refused="MISSING_SLICE")


@case()
def no_series_uid(folder: Path) -> Expected:
    """Without Series Instance UID (type 1, PS3.3 C.7.3.1) nothing joins two files: each is read by itself."""
    stack = Stack(stored=numbers((2, 6, 5)))
    stack.write(folder, lambda made, k: delattr(made, "SeriesInstanceUID"))
    lone = [Stack(stored=stack.stored[k : k + 1], first=stack.place(k), step=(0, 0, 5)).truth() for k in range(2)]
    return read(*lone)
