import numpy as np
import pytest
import torch
from PIL import Image

from models.backbones import build_backbone
from models.detectors.autoencoder import Autoencoder, small_grey, squared_errors
from models.detectors.networks.autoencoder import ConvolutionalAutoencoder


class Same(torch.nn.Module):
    """Gives grey 0 back, whatever it gets."""

    def forward(self, images):
        return torch.full_like(images, -0.5)


def test_slices_become_small_grey_images_as_pillow_makes_them():
    colour = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    grey = Image.fromarray(colour[0].mean(dim=0).numpy())
    expected = np.asarray(grey.resize((64, 64), Image.Resampling.BILINEAR)) - 0.5
    np.testing.assert_allclose(small_grey(colour)[0, 0].numpy(), expected, atol=1e-4)


def test_squared_error_by_hand():
    images = torch.tensor([[[[0.5, -0.5], [0.0, -0.25]]]])
    assert squared_errors(Same(), images).tolist() == [[[1.0, 0.0], [0.25, 0.0625]]]


@pytest.mark.parametrize("size", [32, 64, 128, 100])
def test_score_is_the_mean_squared_error_and_the_map_lies_on_the_pixels(size):
    detector = Autoencoder(build_backbone("resnet18@layer1"), image_size=size)
    images = torch.zeros(1, 1, size, size)
    row, column = size // 4, size * 5 // 8
    images[0, 0, row - 2 : row + 3, column - 2 : column + 3] = 1.0
    score, maps = detector.measure(Same(), images)
    assert float(score) == pytest.approx(float(small_grey(images).add(0.5).square().mean()), rel=1e-5)
    weight = maps[0] / maps.sum()
    assert float((weight.sum(dim=1) * torch.arange(size)).sum()) == pytest.approx(row, abs=0.6)
    assert float((weight.sum(dim=0) * torch.arange(size)).sum()) == pytest.approx(column, abs=0.6)


def test_an_image_passes_through_as_many_numbers_as_asked_for():
    network = ConvolutionalAutoencoder(latent=5).eval()
    images = torch.rand(2, 1, 64, 64)
    assert network.squeeze(network.encoder(images)).shape == (2, 5)
    assert network(images).shape == images.shape
    assert 2e6 < sum(weights.numel() for weights in network.parameters()) < 3e6
