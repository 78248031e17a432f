import csv
import stat

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.device import choose_device
from pipeline.prepare.samples import prepare, to_tensor
from pipeline.score.heatmap import attended_slice, grad_cam, overlay, write_heatmaps
from pipeline.score.scorer import load_scorer
from pipeline.workspace import pseudonym

KEY = b"k" * 32


@pytest.fixture(scope="module")
def scorer(radiograph_bundle):
    return load_scorer(radiograph_bundle, choose_device("cpu"))


@pytest.fixture(scope="module")
def refs(samples):
    return [ref for ref in scan_sources([samples / "incoming"]) if ref.status == "ok"][:3]


def test_grad_cam_is_the_weighted_sum_of_the_last_stage(scorer, refs):
    """Against Selvaraju et al. 2017, eq. 1 and 2, worked out with autograd here."""
    image = to_tensor(prepare(read_scan(refs[0]), scorer.record.preparation).slices)[0]
    kept = []
    stage = scorer.classifier.backbone.stages[scorer.classifier.backbone.stage_names[-1]]
    handle = stage.register_forward_hook(lambda _m, _i, output: kept.append(output))
    logits = scorer.classifier(image[None, None].expand(-1, -1, 3, -1, -1), torch.ones(1, 1, dtype=torch.bool))
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, 1], kept[0])
    coarse = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1, keepdim=True).relu().detach()
    fine = torch.nn.functional.interpolate(coarse, image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    heat = grad_cam(scorer, image, 1)
    assert heat.shape == tuple(image.shape[-2:])
    assert heat.max() == pytest.approx(1)
    assert heat.min() >= 0
    np.testing.assert_allclose(heat, (fine / fine.max()).numpy(), atol=1e-4)


def test_attended_slice_has_the_greatest_attention(volume_bundle, samples):
    scorer = load_scorer(volume_bundle, choose_device("cpu"))
    volume = next(ref for ref in scan_sources([samples / "volumes"]) if ref.status == "ok")
    slices = to_tensor(prepare(read_scan(volume), scorer.record.preparation).slices)
    found = attended_slice(scorer, slices)
    with torch.inference_mode():
        h = scorer.classifier.norm(scorer.classifier.features(slices))
        pooling = scorer.classifier.pooling
        scores = pooling.score(torch.tanh(pooling.tanh(h)) * torch.sigmoid(pooling.gate(h)))[:, 0]
    assert len(slices) > 1
    assert found == int(scores.argmax())


def test_attended_slice_of_a_radiograph_is_the_only_one(scorer):
    assert attended_slice(scorer, torch.zeros(1, 1, 64, 64)) == 0


def test_overlay_leaves_cold_pixels_as_they_are():
    image = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    picture = np.asarray(overlay(image, heat))
    assert picture.shape == (4, 4, 3)
    np.testing.assert_array_equal(picture[1:, :, 0], (image[1:] * 255).round())
    red, green, blue = (int(value) for value in picture[0, 0])
    assert red > green > blue


def test_pictures_are_named_by_pseudonyms_and_the_index_is_private(scorer, refs, tmp_path):
    out = tmp_path / "heatmaps"
    steps = []
    assert write_heatmaps(scorer, refs, out, KEY, steps.append) == 3
    assert steps == [1, 1, 1]
    index = out / "index.csv"
    assert stat.S_IMODE(index.stat().st_mode) == 0o600
    with index.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_uid = {row["series_uid"]: row for row in rows}
    assert {path.name for path in out.iterdir()} == {"index.csv", *(row["file"] for row in rows)}
    for ref in refs:
        row = by_uid[ref.series_uid]
        assert row["source"] == ref.source
        assert row["file"] == f"{pseudonym(KEY, ref.series_uid)}.png"
        assert row["class"] == "opacity"
        with Image.open(out / row["file"]) as picture:
            assert picture.size == (64, 64)
            assert not picture.info


def test_a_scan_that_is_no_longer_there_is_left_out(scorer, refs, incoming):
    moved = [ref for ref in scan_sources([incoming]) if ref.status == "ok"][:2]
    for file in moved[0].files:
        (incoming / file).unlink()
    assert write_heatmaps(scorer, moved, incoming / "out", KEY) == 1
