import numpy as np
import pytest
import torch

from models.detectors.cells import stage_grids
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.device import choose_device
from pipeline.prepare.samples import prepare, to_tensor
from pipeline.score.maps.grad_cam import GradCamDraw
from pipeline.score.scorer import load_scorer


def first_slices(scorer, folder):
    ref = next(ref for ref in scan_sources([folder]) if ref.status == "ok")
    return to_tensor(prepare(read_scan(ref), scorer.record.preparation).slices)


def drawing(scorer):
    return GradCamDraw(scorer.classifier, scorer.record.classes, scorer.device)


@pytest.fixture(scope="module")
def radiographs(radiograph_bundle):
    return load_scorer(radiograph_bundle, choose_device("cpu"))


@pytest.fixture(scope="module")
def volumes(volume_bundle):
    return load_scorer(volume_bundle, choose_device("cpu"))


def cam_by_hand(classifier, image, label):
    """Selvaraju et al. 2017, eq. 1 and 2, with autograd; in units of the logit."""
    kept = []
    stage = classifier.backbone.stages[classifier.backbone.stage_names[-1]]
    handle = stage.register_forward_hook(lambda _m, _i, output: kept.append(output))
    logits = classifier(image[None, None].expand(-1, -1, 3, -1, -1), torch.ones(1, 1, dtype=torch.bool))
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, label], kept[0])
    coarse = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1, keepdim=True).relu().detach()
    rows = stage_grids(classifier.backbone, image.shape[-1])[classifier.backbone.stage_names[-1]].enlarge(64)
    return rows @ coarse[0, 0] @ rows.T


def attention_by_hand(classifier, slices):
    with torch.inference_mode():
        h = classifier.norm(classifier.features(slices))
        pooling = classifier.pooling
        return pooling.score(torch.tanh(pooling.tanh(h)) * torch.sigmoid(pooling.gate(h)))[:, 0].softmax(0)


def test_of_a_radiograph_it_is_the_weighted_sum_of_the_last_stage(radiographs, samples):
    slices = first_slices(radiographs, samples / "incoming")
    found = drawing(radiographs).maps(slices, 1).numpy()
    wanted = cam_by_hand(radiographs.classifier, slices[0], 1).numpy()
    assert found.shape == (1, 64, 64)
    np.testing.assert_allclose(found[0], wanted / wanted.max(), atol=1e-4)


def test_of_a_volume_each_slice_is_weighted_by_its_attention(volumes, samples):
    slices = first_slices(volumes, samples / "volumes")[4:9]
    attention = attention_by_hand(volumes.classifier, slices)
    wanted = torch.stack([a * cam_by_hand(volumes.classifier, s, 1) for a, s in zip(attention, slices, strict=True)])
    found = drawing(volumes).maps(slices, 1)
    assert len(set(attention.tolist())) == 5
    torch.testing.assert_close(found, wanted / wanted.max(), atol=1e-4, rtol=0)


def test_it_is_drawn_for_the_abnormal_class_that_is_most_probable(radiographs, samples):
    slices = first_slices(radiographs, samples / "incoming")
    (outcome,) = radiographs.score([(slices.numpy() * 65535).astype(np.uint16)])
    drawn = drawing(radiographs)(slices, outcome)
    assert drawn.about == "opacity"
    assert drawn.maps.max() == pytest.approx(1)
    assert drawn.cut == 0.5


def test_drawing_again_and_again_hangs_no_more_hooks_on_the_network(radiographs, samples):
    draw = drawing(radiographs)
    slices = first_slices(radiographs, samples / "incoming")

    def hooks():
        return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in radiographs.classifier.modules())

    draw.maps(slices, 1)
    before = hooks()
    draw.maps(slices, 1)
    assert hooks() == before


def test_a_cell_is_drawn_where_it_lies(radiographs):
    """A CAM of one cell peaks at its centre, not half a cell off, as plain enlarging has it."""
    backbone = radiographs.classifier.backbone
    grid = stage_grids(backbone, 64)[backbone.taps[0]]
    enlarged = drawing(radiographs).cams[0].upsampler((64, 64))
    for cell in range(1, grid.cells - 1):
        coarse = torch.zeros(1, 1, grid.cells, grid.cells)
        coarse[0, 0, cell, 1] = 1
        row, column = np.unravel_index(int(enlarged(coarse)[0, 0].argmax()), (64, 64))
        assert (row, column) == pytest.approx((grid.start + grid.step * cell, grid.start + grid.step), abs=0.5)
