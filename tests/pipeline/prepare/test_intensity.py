import numpy as np
import pytest

from pipeline.errors import Reason, ScanError
from pipeline.prepare.intensity import CT_WINDOW, value_range
from pipeline.scan import Scan


def scan(voxels, modality="CR", **changes):
    return Scan(np.asarray(voxels, np.float32), np.eye(4), modality, "1.2", **changes)


RAMP = np.arange(1001.0).reshape(7, 11, 13)


def test_percentiles_of_a_ramp_worked_out_by_hand():
    """0..1000 in steps of 1: the 0.5 % point is 5, the 99.5 % point 995."""
    assert value_range(scan(RAMP, "MR"), "percentile", None) == pytest.approx((5.0, 995.0))


def test_ct_has_the_soft_tissue_window():
    assert value_range(scan(RAMP, "CT"), "auto", None) == CT_WINDOW == (40 - 400 / 2, 40 + 400 / 2)
    assert value_range(scan(RAMP, "CT"), "window", None) == CT_WINDOW


@pytest.mark.parametrize("rule", ["auto", "window"])
def test_a_radiograph_has_the_window_of_its_header(rule):
    assert value_range(scan(RAMP, window=(10.0, 90.0)), rule, None) == (10.0, 90.0)


def test_percentile_leaves_the_header_aside():
    assert value_range(scan(RAMP, window=(10.0, 90.0)), "percentile", None) == pytest.approx((5.0, 995.0))


def test_a_fixed_window_goes_before_all_rules():
    for rule in ("auto", "window", "percentile"):
        assert value_range(scan(RAMP, "CT"), rule, (-1000.0, 400.0)) == (-1000.0, 400.0)


def test_without_a_window_auto_takes_percentiles_and_window_refuses():
    assert value_range(scan(RAMP), "auto", None) == pytest.approx((5.0, 995.0))
    with pytest.raises(ScanError) as caught:
        value_range(scan(RAMP), "window", None)
    assert caught.value.code == Reason.NOT_APPLICABLE


def test_colour_is_0_to_255_whatever_is_asked_for():
    colour = scan(np.arange(12.0).reshape(2, 2, 1, 3), "XC")
    for rule in ("auto", "window", "percentile"):
        assert value_range(colour, rule, (1.0, 2.0)) == (0.0, 255.0)


@pytest.mark.parametrize("rule", ["auto", "window", "percentile"])
@pytest.mark.parametrize("window", [None, (0.0, 1.0)])
def test_a_constant_image_is_refused(rule, window):
    with pytest.raises(ScanError) as caught:
        value_range(scan(np.full((4, 4, 1), 7.0), "CT"), rule, window)
    assert caught.value.code == Reason.NO_CONTRAST


def test_a_few_bright_pixels_on_black_are_still_contrast():
    """Both percentiles are 0 here, so that they cannot serve."""
    voxels = np.zeros((100, 100, 1))
    voxels[0, 0] = 50
    assert value_range(scan(voxels), "auto", None) == (0.0, 50.0)
