"""NIfTI files written with nibabel or by hand, and the traps of other readers."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import ScanError
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources

VOXELS = np.random.default_rng(3).integers(-900, 900, (4, 5, 6), dtype=np.int16)
AFFINE = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0.0, 3, 30], [0, 0, 0, 1]])


@pytest.fixture
def ref_of(tmp_path):
    """Writes an image, or bytes, and returns the one reference found."""

    def build(image, name="a.nii"):
        content = image if isinstance(image, bytes) else image.to_bytes()
        (tmp_path / name).write_bytes(content)
        (ref,) = scan_sources([tmp_path])
        return ref

    return build


def image(voxels=VOXELS, sform=AFFINE, qform=None, **header):
    made = nib.Nifti1Image(voxels, sform)
    made.header.set_xyzt_units("mm")
    if qform is not None:
        made.set_qform(qform, 1)
    for name, value in header.items():
        made.header[name] = value
    return made


def raw(made, **header):
    """The file's bytes with header fields set after nibabel has set its own."""
    content = bytearray(made.to_bytes())
    head = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in header.items():
        head[name] = value
    content[:348] = head.binaryblock
    return bytes(content)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "b"])
def test_values_and_affine_are_as_stored(ref_of, name):
    content = image().to_bytes()
    ref = ref_of(gzip.compress(content) if name.endswith("gz") else content, name)
    scan = read_scan(ref)
    np.testing.assert_array_equal(scan.voxels, VOXELS)
    np.testing.assert_allclose(scan.affine, AFFINE)
    assert (ref.modality, ref.shape, scan.geometry, ref.source) == ("OT", (4, 5, 6), "patient", name)
    assert ref.series_uid.startswith("2.25.")


def test_nifti2_and_big_endian_are_read(ref_of):
    big = nib.Nifti2Image(VOXELS, AFFINE, nib.Nifti2Header(endianness=">"))
    np.testing.assert_array_equal(read_scan(ref_of(big)).voxels, VOXELS)


def test_scaling_is_applied(ref_of):
    ref = ref_of(raw(image(), scl_slope=0.5, scl_inter=7))
    np.testing.assert_allclose(read_scan(ref).voxels, VOXELS * 0.5 + 7)


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_slope_of_zero_or_not_finite_means_no_scaling(ref_of, slope):
    ref = ref_of(raw(image(), scl_slope=slope, scl_inter=5))
    np.testing.assert_array_equal(read_scan(ref).voxels, VOXELS)


def test_sform_without_qform_is_used(ref_of):
    sheared = AFFINE.copy()
    sheared[0, 2] = 0.7
    np.testing.assert_allclose(read_scan(ref_of(image(sform=sheared))).affine, sheared, atol=1e-6)


def test_qform_alone_is_used(ref_of):
    made = image(sform=AFFINE, qform=AFFINE)
    np.testing.assert_allclose(read_scan(ref_of(raw(made, sform_code=0))).affine, AFFINE, atol=1e-5)


def test_forms_that_disagree_are_refused(ref_of):
    ref = ref_of(image(sform=AFFINE, qform=np.diag([-3.0, 3, 3, 1])))
    assert ref.reason.startswith("NIFTI_FORMS_DISAGREE: ")


def test_no_form_is_refused(ref_of):
    assert ref_of(raw(image(), sform_code=0, qform_code=0)).reason.startswith("NIFTI_NO_FORM: ")


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e-3), ("meter", 1e3), ("mm", 1)])
def test_units_are_honoured(ref_of, unit, factor):
    made = image()
    made.header.set_xyzt_units(unit)
    expected = np.diag([factor] * 3 + [1]) @ AFFINE
    np.testing.assert_allclose(read_scan(ref_of(made)).affine, expected)


def test_four_dimensions_become_volumes(tmp_path):
    stack = np.stack([VOXELS, VOXELS + 1, VOXELS + 2], axis=-1)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(image(stack).to_bytes()))
    refs = scan_sources([tmp_path])
    assert [ref.series_uid[-2:] for ref in refs] == ["#1", "#2", "#3"]
    for n, ref in enumerate(refs):
        np.testing.assert_array_equal(read_scan(ref).voxels, VOXELS + n)


def test_gz_cut_in_half_is_truncated(ref_of):
    whole = gzip.compress(image().to_bytes())
    assert ref_of(whole[: len(whole) // 2], "a.nii.gz").reason.startswith("TRUNCATED_FILE: ")


def test_nii_cut_is_truncated(ref_of):
    assert ref_of(image().to_bytes()[:-1]).reason.startswith("TRUNCATED_FILE: ")


def test_flipped_bit_is_corrupt(ref_of):
    whole = bytearray(gzip.compress(image().to_bytes()))
    whole[-6] ^= 4  # in the checksum
    assert ref_of(bytes(whole), "a.nii.gz").reason.startswith("CORRUPT_FILE: ")


def test_absurd_size_is_over_budget(ref_of):
    assert ref_of(raw(image(), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])).reason.startswith("OVER_BUDGET: ")


def test_more_than_declared_is_corrupt(ref_of):
    bomb = gzip.compress(image().to_bytes() + bytes(3 * 2**20))
    assert ref_of(bomb, "a.nii.gz").reason.startswith("CORRUPT_FILE: ")


def test_voxels_that_are_not_finite_are_refused(ref_of):
    broken = VOXELS.astype(np.float32)
    broken[1, 2, 3] = np.nan
    with pytest.raises(ScanError, match="NOT_FINITE"):
        read_scan(ref_of(image(broken)))


def test_rgb24_is_colour(ref_of):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    packed = pixels.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    np.testing.assert_array_equal(read_scan(ref_of(image(packed))).voxels, pixels)


def test_complex_numbers_are_refused(ref_of):
    assert ref_of(image(VOXELS.astype(np.complex64))).reason.startswith("UNSUPPORTED_OBJECT: ")


def test_pair_is_refused(tmp_path):
    nib.save(nib.Nifti1Pair(VOXELS, AFFINE), tmp_path / "a.hdr")
    reasons = {ref.source: ref.reason.partition(":")[0] for ref in scan_sources([tmp_path])}
    assert reasons == {"a.hdr": "UNSUPPORTED_OBJECT", "a.img": "NOT_AN_IMAGE"}


def test_name_without_content_is_refused(ref_of):
    assert ref_of(b"hello" * 200).status == "refused"
