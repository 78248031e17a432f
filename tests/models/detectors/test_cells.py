import numpy as np
import pytest
import torch
from scipy import ndimage

from models.backbones import build_backbone
from models.detectors.cells import Grid, enlarge, gaussian, stage_grids
from models.errors import ModelError

POOL3, POOL3P, POOL2 = (3, 2, 0), (3, 2, 1), (2, 2, 0)
# Kernel, stride and padding of what moves the centre, stage by stage; 3x3 with padding 1 and 1x1 do not.
LAYERS = {
    "resnet18": {"stem": [(7, 2, 3), POOL3P], "layer1": [], "layer2": [(3, 2, 1)], "layer3": [(3, 2, 1)]},
    "densenet121": {"stem": [(7, 2, 3), POOL3P], "block1": [], "block2": [POOL2], "block3": [POOL2], "block4": [POOL2]},
    "squeezenet1_0": {"stem": [(7, 2, 0)], "stage1": [POOL3], "stage2": [POOL3], "stage3": [POOL3]},
    "squeezenet1_1": {"stem": [(3, 2, 0)], "stage1": [POOL3], "stage2": [POOL3], "stage3": [POOL3]},
    "shufflenet_v2_x0_5": {"stem": [(3, 2, 1), POOL3P], "stage2": [(3, 2, 1)], "stage3": [(3, 2, 1)]},
    "mobilenet_v3_small": {"stem": [(3, 2, 1)], "stage1": [(3, 2, 1)], "stage2": [(3, 2, 1)], "stage3": [(5, 2, 2)]},
}


@pytest.mark.parametrize("name", list(LAYERS))
def test_cells_lie_where_the_arithmetic_of_convolutions_puts_them(name):
    """A layer (k, s, p) moves the first centre by ((k - 1) / 2 - p) steps and multiplies the step by s."""
    grids = stage_grids(build_backbone(name, seed=1), 96)
    start, step = 0.0, 1
    for stage, layers in LAYERS[name].items():
        for kernel, stride, padding in layers:
            start, step = start + ((kernel - 1) / 2 - padding) * step, step * stride
        assert grids[stage].start == pytest.approx(start, abs=0.02), stage
        assert grids[stage].step == pytest.approx(step, abs=1e-3), stage


@pytest.mark.parametrize(("name", "size"), [("resnet18", 72), ("squeezenet1_0", 65), ("shufflenet_v2_x0_5", 64)])
def test_grids_have_the_cells_and_channels_of_the_maps(name, size):
    backbone = build_backbone(name, seed=1).eval()
    with torch.no_grad():
        maps = backbone.feature_maps(torch.zeros(1, 3, size, size))
    found = {stage: (grid.channels, grid.cells, grid.cells) for stage, grid in stage_grids(backbone, size).items()}
    assert found == {stage: tuple(of.shape[1:]) for stage, of in maps.items()}


def test_probing_leaves_the_network_as_it_was():
    backbone = build_backbone("squeezenet1_1", seed=1)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    stage_grids(backbone, 64)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_a_network_without_stages_is_refused():
    backbone = build_backbone("squeezenet1_1")
    backbone.stages = torch.nn.ModuleDict()
    with pytest.raises(ModelError, match="its stages are not known"):
        stage_grids(backbone, 64)


def test_enlarge_worked_out_by_hand():
    """Cells at pixels 1 and 5: constant up to 1 and from 5, a quarter more per pixel between."""
    matrix = Grid(cells=2, start=1.0, step=4.0, channels=1).enlarge(7)
    share = torch.tensor([0, 0, 0.25, 0.5, 0.75, 1, 1])
    torch.testing.assert_close(matrix, torch.stack([1 - share, share], dim=1))


@pytest.mark.parametrize("sigma", [0.0, 1.3, 4.0])
@pytest.mark.parametrize(
    ("cells", "start", "step", "size"), [(8, 0.0, 8.0, 64), (5, 3.0, 4.0, 23), (3, 14.0, 32.0, 96)]
)
def test_enlarge_agrees_with_numpy_and_scipy(sigma, cells, start, step, size):
    maps = np.random.default_rng(0).normal(size=(2, cells, cells))
    centres = start + step * np.arange(cells)
    pixels = np.arange(size)

    def along(axis, values):
        return np.apply_along_axis(lambda line: np.interp(pixels, centres, line), axis, values)

    expected = along(2, along(1, maps))
    if sigma:
        expected = ndimage.gaussian_filter(expected, (0, sigma, sigma), mode="reflect", truncate=4.0)
    rows = Grid(cells, start, step, 1).enlarge(size, sigma)
    np.testing.assert_allclose(enlarge(torch.tensor(maps).float(), rows).numpy(), expected, atol=2e-5)


def test_a_single_cell_fills_the_image():
    torch.testing.assert_close(Grid(1, 16.0, 32.0, 1).enlarge(9), torch.ones(9, 1))


@pytest.mark.parametrize(("size", "sigma"), [(5, 4.0), (40, 2.0), (1, 4.0), (7, 0.2)])
def test_gaussian_keeps_a_constant_and_the_total(size, sigma):
    matrix = gaussian(size, sigma)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size, dtype=torch.float64))
    torch.testing.assert_close(matrix.sum(dim=0), torch.ones(size, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "stage", "sides"),
    [
        ("resnet18", "layer1", 96),
        ("resnet18", "layer2", 96),
        ("squeezenet1_1", "stage2", 95),
        ("densenet121", "block2", 96),
    ],
)
def test_a_bright_spot_peaks_where_it_was_planted(name, stage, sides):
    """Within a cell everywhere, at the borders too; and on average over places not off to one side."""
    backbone = build_backbone(f"{name}@{stage}", seed=3).eval()
    grid = stage_grids(backbone, sides)[stage]
    rows = grid.enlarge(sides)
    marks = torch.linspace(2, sides - 3, 10).round().long()
    spots = torch.cartesian_prod(marks, marks)
    images = torch.zeros(len(spots) + 1, 3, sides, sides)
    for image, (r, c) in zip(images[1:], spots.tolist(), strict=True):
        image[:, r - 1 : r + 2, c - 1 : c + 2] = 3.0
    with torch.no_grad():
        maps = torch.cat([backbone.last_map(part) for part in images.split(25)])
    large = enlarge((maps[1:] - maps[:1]).square().sum(dim=1), rows)
    peak = large.flatten(1).argmax(dim=1)
    low, high = grid.start, grid.start + grid.step * (grid.cells - 1)  # outside the map is flat: its peak is anywhere
    offset = torch.stack([peak // sides, peak % sides], dim=1).clamp(low, high) - spots.clamp(low, high)
    assert float(offset.abs().max()) <= grid.step
    assert float(offset.mean(dim=0).abs().max()) <= grid.step / 4


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grids_are_found_where_no_gradient_is_kept(mode):
    backbone = build_backbone("resnet18@layer2")
    wanted = stage_grids(backbone, 64)
    with mode():
        assert stage_grids(backbone, 64) == wanted
        assert stage_grids(build_backbone("resnet18@layer2"), 64) == wanted
