import pytest
import torch

from models.backbones import build_backbone
from models.detectors.cells import Grid, stage_grids
from models.detectors.detector import default_stages
from models.detectors.padim import PaDiM


def build(name="squeezenet1_1", **changes):
    """The base is abstract; nothing that is tested here is PaDiM's own."""
    return PaDiM(build_backbone(name, seed=1), **{"image_size": 48, **changes})


def test_default_stages_are_the_last_of_each_stride():
    grids = {"a": Grid(8, 0, 4, 1), "b": Grid(8, 0, 4.0004, 1), "c": Grid(4, 0, 8, 1), "d": Grid(1, 0, 32, 1)}
    assert default_stages(grids, (4, 8, 16)) == ("b", "c")
    assert default_stages(grids, (16,)) == ("d",)


def test_own_stages_go_before_the_default():
    assert build().stages == ("stage1", "stage2", "stage3")
    assert build(stages=("stage2",)).stages == ("stage2",)


def test_stage_maps_are_the_backbones_on_normalised_slices():
    detector = build(stages=("stem", "stage2"))
    grey = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    backbone = build_backbone("squeezenet1_1", seed=1).eval()
    rgb = torch.stack([(grey[:, 0] - m) / s for m, s in zip(backbone.mean, backbone.std, strict=True)], dim=1)
    with torch.no_grad():
        expected = backbone.feature_maps(rgb)
    for found, stage in zip(detector.stage_maps(grey), ("stem", "stage2"), strict=True):
        torch.testing.assert_close(found, expected[stage], atol=1e-5, rtol=1e-5)


def test_colour_slices_are_taken_as_they_are():
    detector = build()
    colour = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    found = detector.normalise(colour)
    assert float(found[0, 2, 5, 7]) == pytest.approx((float(colour[0, 2, 5, 7]) - 0.406) / 0.225, rel=1e-5)


def test_no_stage_above_the_last_one_needed_is_run():
    detector = build(stages=("stage1",))
    ran = []
    for name, stage in detector.backbone.stages.items():
        stage.register_forward_hook(lambda *_, name=name: ran.append(name))
    detector.stage_maps(torch.zeros(1, 1, 48, 48))
    assert ran == ["stem", "stage1"]


def test_the_backbone_is_frozen_and_never_trains():
    detector = build("mobilenet_v3_small").train()
    assert detector.training
    assert not detector.backbone.training
    assert not any(parameter.requires_grad for parameter in detector.backbone.parameters())


def test_reduced_precision_gives_nearly_the_same_maps_in_float32():
    slices = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    (full,), (reduced,) = (build(stages=("stage2",), reduced=on).stage_maps(slices) for on in (False, True))
    assert reduced.dtype == torch.float32
    assert not torch.equal(full, reduced)
    torch.testing.assert_close(reduced, full, rtol=0.1, atol=0.02 * float(full.abs().max()))


def test_grids_are_those_of_the_backbone_at_the_size_of_the_slices():
    detector = build()
    assert detector.grids == stage_grids(detector.backbone, 48)
