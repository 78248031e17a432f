import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from models.backbones import build_backbone
from models.detectors.cells import Grid, enlarge
from models.detectors.networks.reverse import ReverseStudent
from models.detectors.reverse_distillation import ReverseDistillation, cosine_loss, cosine_maps


def test_cosine_maps_of_hand_worked_features():
    encoded = torch.tensor([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0], [1.0, 0.0]]).T.reshape(1, 2, 2, 2)
    decoded = torch.tensor([[6.0, 8.0], [7.0, 0.0], [-1.0, 0.0], [3.0, 4.0]]).T.reshape(1, 2, 2, 2)
    found = cosine_maps(encoded, decoded)[0].flatten().tolist()
    assert found == pytest.approx([0, 1, 2, 0.4], abs=1e-6)


def test_cosine_loss_joins_all_cells_of_a_slice():
    rng = np.random.default_rng(0)
    encoded, decoded = rng.normal(size=(2, 3, 5, 2, 2)).astype(np.float32)
    rows = [maps.reshape(3, -1) for maps in (encoded, decoded)]
    cosine = (rows[0] * rows[1]).sum(1) / np.linalg.norm(rows[0], axis=1) / np.linalg.norm(rows[1], axis=1)
    found = cosine_loss(torch.from_numpy(encoded), torch.from_numpy(decoded))
    assert float(found) == pytest.approx(float(np.mean(1 - cosine)), rel=1e-5)


@pytest.fixture
def detector():
    return ReverseDistillation(build_backbone("resnet18@layer2", seed=1), image_size=32, steps=1)


@torch.no_grad()
def test_map_is_the_sum_over_stages_smoothed_by_a_gaussian_of_four_pixels(detector, textures):
    network, images = detector.build_network().eval(), textures(2)
    pairs = detector.pairs(network, images)
    maps = [
        enlarge(cosine_maps(*pair), detector.grids[stage].enlarge(32)).numpy()
        for pair, stage in zip(pairs, ("layer1", "layer2"), strict=True)
    ]
    expected = np.stack([gaussian_filter(one, 4, mode="reflect", truncate=4) for one in maps[0] + maps[1]])
    score, found = detector.measure(network, images)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)
    np.testing.assert_allclose(score.numpy(), expected.max(axis=(1, 2)), rtol=1e-4)
    loss = sum(float(cosine_loss(*pair)) for pair in pairs)
    assert float(detector.loss(network, images)) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    "shapes",
    [
        [(16, 0.0, 4.0, 64), (8, 0.0, 8.0, 128), (4, 0.0, 16.0, 256)],
        [(25, 0.0, 4.0, 256), (13, 0.0, 8.0, 512), (7, 0.0, 16.0, 1024)],  # odd sizes, wide
        [(15, 3.0, 4.0, 24), (6, 5.0, 8.0, 40)],  # not padded: sizes do not halve
        [(8, 0.0, 8.0, 48), (8, 0.0, 8.0, 48)],  # two stages of one stride
        [(2, 0.0, 16.0, 96)],
    ],
)
def test_decoder_gives_back_maps_of_any_stages(shapes):
    grids = [Grid(*shape) for shape in shapes]
    maps = [torch.rand(2, grid.channels, grid.cells, grid.cells) for grid in grids]
    given = ReverseStudent(grids)(maps)
    assert [one.shape for one in given] == [one.shape for one in maps]


def test_decoder_of_a_wide_network_stays_modest():
    grids = [Grid(56, 0.0, 4.0, 256), Grid(28, 0.0, 8.0, 512), Grid(14, 0.0, 16.0, 1024)]
    assert sum(weights.numel() for weights in ReverseStudent(grids).parameters()) < 15e6


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_other_encoders_train_too(name, stream, textures):
    detector = ReverseDistillation(build_backbone(name, seed=1), image_size=64, steps=5)
    detector.fit(stream(textures(4, size=64)))
    assert detector.curve[-1] < detector.curve[0]
    assert detector.score(textures(2, size=64, seed=1), maps=True).maps.shape == (2, 64, 64)
