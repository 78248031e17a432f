import math

import pytest
import torch

from pipeline.prepare.augment.views import ASPECT, LEAST_AREA, resized_crop, view


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ramps(bags, side=64):
    """Channel 0 holds each pixel's column, channel 1 its row, as places in -1..1 brought to 0.25..0.75."""
    place = (torch.arange(side) + 0.5) * 2 / side - 1
    both = torch.stack([place.expand(side, side), place[:, None].expand(side, side)])
    return (0.5 + both / 4).expand(bags, 1, 2, side, side).contiguous()


@pytest.fixture
def boxes():
    """Left, right, top and bottom of 500 crops, in -1..1, read off what they show."""
    found = (resized_crop(ramps(500), generator())[:, 0] - 0.5) * 4
    across, down = found[:, 0].mean(dim=1), found[:, 1].mean(dim=2)
    ends = []
    for line in (across, down):
        step = (line[:, 40] - line[:, 20]) / 20
        middle = (line[:, 31] + line[:, 32]) / 2
        ends += [middle - 32 * step, middle + 32 * step]
    return torch.stack(ends)


def test_crops_lie_within_the_image_and_are_neither_mirrored_nor_turned(boxes):
    left, right, top, bottom = boxes
    assert min(left.min(), top.min()) > -1.001
    assert max(right.max(), bottom.max()) < 1.001
    assert (right > left).all()
    assert (bottom > top).all()
    crops = resized_crop(ramps(20), generator(1))
    torch.testing.assert_close(crops[:, 0, 0], crops[:, 0, 0, :1].expand(-1, 64, -1), atol=1e-4, rtol=0)


def test_crops_have_the_areas_and_aspects_that_they_should(boxes):
    left, right, top, bottom = boxes
    width, height = (right - left) / 2, (bottom - top) / 2
    area, aspect = width * height, width / height
    assert area.max() < 1.001
    assert area.min() > LEAST_AREA * 0.999  # sides cut off at the image's only at areas above 3/4
    assert area.min() < LEAST_AREA + 0.02
    assert aspect.max() < ASPECT * 1.001
    assert aspect.min() > 0.999 / ASPECT
    small = area < 0.74
    assert area[small].mean().item() == pytest.approx((LEAST_AREA + 0.74) / 2, abs=0.01)
    assert aspect.log().mean().item() == pytest.approx(0, abs=0.03)
    assert aspect[small].log().std().item() == pytest.approx(math.log(ASPECT) / math.sqrt(3), abs=0.015)


def test_crops_lie_anywhere(boxes):
    left, right, top, bottom = boxes
    for low, high in ((left, right), (top, bottom)):
        room = 2 - (high - low)
        share = ((low + 1) / room)[room > 0.2]
        assert share.mean().item() == pytest.approx(0.5, abs=0.04)
        assert share.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.03)


def test_a_view_is_seeded_in_range_and_leaves_its_input():
    slices = torch.rand(4, 2, 1, 32, 32, generator=generator())
    before = slices.clone()
    one, same, other = view(slices, generator(1)), view(slices, generator(1)), view(slices, generator(2))
    assert torch.equal(slices, before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == slices.shape
    assert 0 <= float(one.min()) <= float(one.max()) <= 1
