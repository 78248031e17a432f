"""Expected values are worked out from where the slices were put, never by the code that reads them."""

import math

import numpy as np
import pytest

from pipeline.check.geometry_proof import prove_affine
from pipeline.check.one_series import headed
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources

TILTED = {"step": (0, 0.5, 2.5)}
OBLIQUE = {"row": (0.8, 0.6, 0), "column": (-0.6, 0.8, 0)}
SAGITTAL = {"row": (0, 1, 0), "column": (0, 0, -1), "step": (-3, 0, 0)}


def test_a_straight_stack_is_proved_step_by_step(tmp_path, slices, write_all, only):
    write_all(slices, tmp_path / "scans")
    proof = only().geometry
    assert (proof.holds, proof.slices, proof.axes, proof.handedness) == (True, 10, "LPS", "right")
    steps = proof.steps
    assert (steps.smallest, steps.median, steps.largest) == pytest.approx((2.5, 2.5, 2.5))
    assert (steps.deviation, steps.aside, steps.drift) == pytest.approx((0, 0, 0), abs=1e-9)
    assert (steps.tolerance, steps.line_tolerance) == (0.025, 0.05)
    assert steps.positions == pytest.approx([2.5 * k for k in range(10)])
    assert proof.tilt_degrees == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("shape", [{}, TILTED, OBLIQUE, SAGITTAL], ids=["axial", "tilted", "oblique", "sagittal"])
def test_the_affine_is_where_the_slices_were_put_and_what_is_read(tmp_path, new_slices, write_all, only, shape):
    series = new_slices(**shape)
    write_all(series, tmp_path / "scans")
    row = only()
    np.testing.assert_allclose(np.array(row.geometry.affine), series.affine, atol=1e-6)
    np.testing.assert_array_equal(np.array(row.geometry.affine), read_scan(row.ref).affine)


def test_tilt_is_the_angle_between_step_and_normal(tmp_path, new_slices, write_all, only):
    write_all(new_slices(**TILTED), tmp_path / "scans")
    assert only().geometry.tilt_degrees == pytest.approx(math.degrees(math.atan2(0.5, 2.5)), abs=1e-3)


def test_spacing_is_in_the_order_of_the_voxels(tmp_path, new_slices, write_all, only):
    write_all(new_slices(**SAGITTAL), tmp_path / "scans")
    proof = only().geometry
    assert proof.spacing_mm == pytest.approx((0.7, 0.8, 3))
    assert proof.axes == "PIR"


def test_a_missing_slice_shows_in_the_steps_and_leaves_no_affine(tmp_path, slices, write, only):
    for k in (0, 1, 2, 3, 5, 6, 7, 8, 9):
        write(slices.dataset(k), tmp_path / "scans" / f"{k}.dcm")
    row = only()
    assert row.ref.reason.startswith("MISSING_SLICE")
    proof = row.geometry
    assert (proof.holds, proof.slices, proof.affine, proof.axes, proof.tilt_degrees) == (False, 9, None, "", None)
    assert (proof.steps.median, proof.steps.largest, proof.steps.deviation) == pytest.approx((2.5, 5, 2.5))
    assert proof.words in row.ref.reason


def test_a_slice_beside_the_line_shows_as_sideways(tmp_path, slices, write, only):
    for k in range(10):
        ds = slices.dataset(k)
        if k == 5:
            ds.ImagePositionPatient = [-99.0, -90.0, 40.0 + 5 * 2.5]
        write(ds, tmp_path / "scans" / f"{k}.dcm")
    row = only()
    assert row.ref.reason.startswith("UNEVEN_SPACING")
    assert (row.geometry.steps.aside, row.geometry.steps.drift) == pytest.approx((1.0, 1.0))
    assert row.geometry.steps.deviation == pytest.approx(0, abs=1e-9)


def test_steps_that_drift_apart_show_it(tmp_path, slices, write, only):
    for k in range(10):
        ds = slices.dataset(k)  # each step by itself is within the tolerance of 0.025 mm
        ds.ImagePositionPatient = [-100.0, -90.0, 2.5 * k + 0.02 * min(k, 9 - k)]
        write(ds, tmp_path / "scans" / f"{k}.dcm")
    row = only()
    steps = row.geometry.steps
    assert steps.drift == pytest.approx(0.08)  # slice 4 is 4 x 0.02 mm ahead of even steps
    assert (steps.drift <= steps.line_tolerance) == row.geometry.holds
    assert not row.geometry.holds


def test_slices_without_a_position_have_a_proof_that_fails(tmp_path, slices, write_all, only):
    write_all(slices, tmp_path / "scans", ImagePositionPatient=None)
    row = only()
    assert row.ref.reason.startswith("NO_POSITION")
    assert (row.geometry.holds, row.geometry.slices, row.geometry.steps) == (False, 10, None)


def test_a_damaged_header_refuses_the_stack_that_looks_whole(tmp_path, slices, write_all, write, check_folder):
    write_all(slices, tmp_path / "scans")
    ds = slices.dataset(9)  # the last one, without which the others look whole
    ds.PixelSpacing = "0.8"  # one number where two belong
    write(ds, tmp_path / "scans" / "3_9.dcm")
    rows = [row for row in check_folder().rows if row.belongs]
    assert {row.ref.status for row in rows} == {"refused"}
    assert all(row.geometry is None or "refused for another reason" in row.geometry.words for row in rows)


def test_a_file_that_went_away_keeps_the_others_from_being_proved(tmp_path, slices, write_all):
    paths = write_all(slices, tmp_path / "scans")
    (ref,) = scan_sources([tmp_path / "scans"])
    paths[-1].unlink()
    row, look = headed(1, ref)
    assert look.damaged == 1
    assert (row.geometry.holds, row.geometry.affine) == (False, None)
    assert "1 of 10 headers" in row.geometry.words


def test_an_affine_with_a_mirrored_axis_is_left_handed():
    proof = prove_affine(np.diag([-2.0, 2.0, 3.0, 1.0]), 5, "")
    assert (proof.axes, proof.handedness, proof.spacing_mm) == ("LAS", "left", (2.0, 2.0, 3.0))


def test_a_radiograph_has_no_place_to_prove(tmp_path, radiograph, write, only):
    write(radiograph(np.arange(30, dtype=np.uint16).reshape(6, 5)), tmp_path / "scans" / "a.dcm")
    assert only().geometry is None
