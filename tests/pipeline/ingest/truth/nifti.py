"""NIfTI files put together byte by byte with struct, after nifti1.h and nifti2.h: kinds of number, forms, units."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from tests.pipeline.ingest.truth.case import NIBABEL, SITK, Expected, case, read, refuse
from tests.pipeline.ingest.truth.dicom import numbers
from tests.pipeline.ingest.truth.nifti_writer import AFFINE, CODES, PROOF, VOXELS, Nifti

QUARTER = (0.5**0.5, 0.0, 0.0, 0.5**0.5)  # a turn of 90 degrees about z, which takes x to y
BOTH = (NIBABEL, SITK)


@case(variants={"nii": "a.nii", "nii_gz": "a.nii.gz", "no_suffix": "scan"})
def named(folder: Path, name: str) -> Expected:
    """The first bytes tell a NIfTI file, packed or not; a packed one needs its suffix, as any file may be gzip."""
    Nifti().write(folder, name)
    return read(Nifti().truth(), proof=PROOF if name != "scan" else ())


@case(
    variants={
        f"{version}_{name}": (version, order) for version in (1, 2) for name, order in (("little", "<"), ("big", ">"))
    }
)
def version_and_order(folder: Path, version: int, order: str) -> Expected:
    """NIfTI-1 and NIfTI-2 in both byte orders (sizeof_hdr tells)."""
    made = Nifti(version=version, order=order)
    made.write(folder)
    return read(made.truth(), proof=PROOF)


@case(
    variants={f"{dtype}_{name}": (dtype, order) for dtype in CODES for name, order in (("little", "<"), ("big", ">"))}
)
def kind_of_number(folder: Path, dtype: str, order: str) -> Expected:
    """Every datatype of real numbers, its range to the ends that float32 holds."""
    kind = np.dtype(dtype)
    ends = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.kind in "iu" else (-1.25e30, 3.5e-20)
    voxels = numbers((4, 5, 6), 100).astype(kind)
    voxels[0, 0, :2] = ends
    made = Nifti(voxels=voxels, dtype=dtype, order=order)
    made.write(folder)
    return read(made.truth(voxels.astype(np.float64)), proof=PROOF if kind.itemsize < 8 else ())


@case(variants={"of_4": (4, 5, 6, 3), "of_5_with_ones": (4, 5, 6, 3, 1, 1)})
def dimensions(folder: Path, *shape: int) -> Expected:
    """The fourth dimension counts volumes, each read by itself."""
    made = Nifti(voxels=numbers(shape, 900))
    made.write(folder)
    volumes = made.voxels.reshape(4, 5, 6, 3)
    return read(*(made.truth(volumes[..., n]) for n in range(3)))


@case(variants={"1": (7,), "2": (4, 5)})
def fewer_dimensions(folder: Path, *shape: int) -> Expected:
    """A line or a plane is a volume one voxel thick."""
    made = Nifti(voxels=numbers(shape, 900))
    made.write(folder)
    return read(made.truth(made.voxels.reshape(*shape, *[1] * (3 - len(shape)))), proof=PROOF)


@case()
def rgb24(folder: Path) -> Expected:
    """DT_RGB24: three bytes a voxel, red first, lie together."""
    colours = numbers((4, 5, 6, 3), 256)
    stored = colours.transpose(2, 1, 0, 3).astype("u1").tobytes()
    made = Nifti(dtype="u1", code=128, dims=(3, 4, 5, 6), raw=stored)
    made.write(folder)
    return read(made.truth(colours), proof=PROOF)


@case(variants={"rgba32": 2304, "complex64": 32, "complex128": 1792, "float128": 1536, "binary": 1, "unknown": 77})
def kind_that_is_no_intensity(folder: Path, code: int) -> Expected:
    """Complex numbers, transparency, bits and unknown datatypes are no intensity: refused."""
    Nifti(code=code, raw=bytes(32 * VOXELS.size)).write(folder)
    return refuse("UNSUPPORTED_OBJECT")


@case(variants={"vector": {"intent": 1007}, "fifth_dimension": {"dims": (5, 4, 5, 6, 1, 3), "raw": bytes(720)}})
def several_values_in_a_voxel(folder: Path, how: dict[str, Any]) -> Expected:
    """Vectors, tensors and displacements have several values in a voxel: refused."""
    Nifti(**how).write(folder)
    return refuse("UNSUPPORTED_OBJECT")


@case(variants={"plain": (0.5, 7.0), "negative": (-2.0, 0.0), "inter_alone": (1.0, -1024.0), "fine": (0.001, 0.0)})
def scaling(folder: Path, slope: float, inter: float) -> Expected:
    """value = scl_slope * stored + scl_inter."""
    made = Nifti(slope=slope, inter=inter)
    made.write(folder)
    return read(made.truth(VOXELS * float(np.float32(slope)) + inter), proof=PROOF)


@case(variants={"0": 0.0, "nan": np.nan, "infinite": np.inf})
def slope_that_means_none(folder: Path, slope: float) -> Expected:
    """A slope of 0 or not finite means no scaling, and scl_inter is not added either (nifti1.h)."""
    Nifti(slope=slope, inter=5.0).write(folder)
    return read(Nifti().truth(), proof=PROOF)


@case(variants={"nan": np.nan, "infinite": np.inf})
def inter_that_is_not_finite(folder: Path, inter: float) -> Expected:
    """A good slope beside an intercept that is no number: refused."""
    Nifti(inter=inter).write(folder)
    return refuse("CORRUPT_HEADER")


@case(variants={"nan": np.nan, "infinite": np.inf})
def voxel_that_is_not_finite(folder: Path, value: float) -> Expected:
    """A voxel that is no number: refused."""
    voxels = VOXELS.astype("f4")
    voxels[1, 2, 3] = value
    Nifti(voxels=voxels, dtype="f4").write(folder)
    return refuse("NOT_FINITE")


TURNED = {"quaternion": QUARTER, "offsets": (10.0, -20.0, 30.0), "qform_code": 1}


@case(variants={"both": 1, "sform_of_another_kind": 2})
def forms_that_agree(folder: Path, code: int) -> Expected:
    """Where sform and qform agree, whatever their codes, there is one affine."""
    made = Nifti(**TURNED, sform_code=code)
    made.write(folder)
    return read(made.truth(), proof=BOTH)


@case(variants={"codes_1_1": (1, 1), "codes_2_1": (2, 1), "codes_1_2": (1, 2)})
def forms_in_conflict(folder: Path, sform_code: int, qform_code: int) -> Expected:
    """sform and qform put the voxels at two places (2 against -3 mm): refused, where other readers mix or choose."""
    three = (-1.0, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0)
    Nifti(sform=np.diag([2.0, 2, 2, 1]), sform_code=sform_code, qform_code=qform_code, pixdim=three).write(folder)
    return refuse("NIFTI_FORMS_DISAGREE")


@case()
def forms_mirrored(folder: Path) -> Expected:
    """qfac -1 against an sform that is not mirrored: refused."""
    Nifti(**TURNED, pixdim=(-1.0, 1.5, 2.0, 3.0, 1.0, 1.0, 1.0, 1.0)).write(folder)
    return refuse("NIFTI_FORMS_DISAGREE")


@case()
def sform_alone(folder: Path) -> Expected:
    """qform_code 0: a stale quaternion and pixdim do not count."""
    stale = (1.0, 9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0)
    Nifti(quaternion=QUARTER, offsets=(1.0, 2.0, 3.0), pixdim=stale).write(folder)
    return read(Nifti().truth(), proof=PROOF)


@case()
def qform_alone(folder: Path) -> Expected:
    """sform_code 0: the quaternion counts, and the stale sform does not."""
    Nifti(**TURNED, sform_code=0, sform=np.diag([7.0, 7, 7, 1])).write(folder)
    return read(Nifti().truth(), proof=BOTH)


@case(variants={"1": 1.0, "minus_1": -1.0, "0": 0.0})
def qfac(folder: Path, qfac: float) -> Expected:
    """qfac turns the third axis; 0 counts as 1 (nifti1.h, METHOD 2)."""
    a, b, c, d = 0.5, 0.5, 0.5, 0.5  # x to y to z to x
    made = Nifti(quaternion=(a, b, c, d), qform_code=1, sform_code=0, pixdim=(qfac, 1.5, 2.0, 3.0, 1.0, 1.0, 1.0, 1.0))
    made.write(folder)
    third = -3.0 if qfac < 0 else 3.0
    affine = np.array([[0, 0, third, 0], [1.5, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    return read(made.truth(affine=affine), proof=BOTH if qfac else PROOF)


@case()
def sheared_sform(folder: Path) -> Expected:
    """An sform may shear; it is kept, not squared."""
    sheared = AFFINE.copy()
    sheared[0, 2] = 0.7
    made = Nifti(sform=sheared)
    made.write(folder)
    return read(made.truth(affine=sheared), proof=PROOF)


@case()
def sheared_sform_beside_a_qform(folder: Path) -> Expected:
    """A qform cannot shear, so both forms cannot agree: refused."""
    sheared = AFFINE.copy()
    sheared[0, 2] = 0.7
    Nifti(sform=sheared, **TURNED).write(folder)
    return refuse("NIFTI_FORMS_DISAGREE")


@case()
def no_form(folder: Path) -> Expected:
    """Both codes 0: readers differ in whether left is right, so the file is refused."""
    Nifti(sform_code=0).write(folder)
    return refuse("NIFTI_NO_FORM")


@case(variants={"millimetres": (2, 1.0), "metres": (1, 1000.0), "micrometres": (3, 0.001), "unknown": (0, 1.0),
                "with_seconds": (2 | 8, 1.0)})  # fmt: skip
def units(folder: Path, units: int, factor: float) -> Expected:
    """xyzt_units: lengths become millimetres; unknown counts as millimetres, as everywhere."""
    made = Nifti(units=units)
    made.write(folder)
    return read(made.truth(affine=np.diag([factor] * 3 + [1]) @ AFFINE), proof=PROOF)


@case()
def unit_that_does_not_exist(folder: Path) -> Expected:
    """A length unit of 5 is none: refused."""
    Nifti(units=5).write(folder)
    return refuse("CORRUPT_HEADER")


@case(variants={"flat": np.diag([1.0, 0, 1, 1]), "nan": np.diag([1.0, np.nan, 1, 1]), "zero": np.zeros((4, 4))})
def affine_without_volume(folder: Path, sform: np.ndarray) -> Expected:
    """An affine that is flat or no number places nothing: refused."""
    Nifti(sform=sform).write(folder)
    return refuse("UNSUPPORTED_GEOMETRY")


@case(
    variants={"extension": {"extension": struct.pack("<2i", 32, 6) + b"comment".ljust(24)}, "odd_offset": {"gap": 13}}
)
def voxels_further_back(folder: Path, how: dict[str, Any]) -> Expected:
    """vox_offset says where the voxels begin: behind extensions, at odd places."""
    made = Nifti(**how)
    made.write(folder)
    return read(made.truth(), proof=PROOF)
