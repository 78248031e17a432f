"""A small convolutional autoencoder of grey images."""

from itertools import pairwise

from torch import Tensor, nn

SIDE = 64
WIDTH = 16
HIDDEN = 1024


class ConvolutionalAutoencoder(nn.Module):
    """Four 4x4 convolutions of stride 2, a fully connected bottleneck, and the same way back.

    Args:
        latent: Numbers that an image is squeezed into.

    Source:
        Cai et al. 2024, Rethinking Autoencoders for Medical Anomaly Detection, and its code (AE4AD): 64 pixels,
        widths 16, 32, 64, 64, 1,024 hidden units, 16 latent.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        widths = (WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH)
        cells = (widths[-1], SIDE // 16, SIDE // 16)
        flat = widths[-1] * (SIDE // 16) ** 2
        down = [_block(nn.Conv2d(a, b, 4, 2, 1, bias=False), b) for a, b in zip((1, *widths), widths, strict=False)]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, HIDDEN))
        self.squeeze = nn.Sequential(nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, latent))
        self.widen = nn.Sequential(nn.Linear(latent, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True))
        rising = widths[::-1]
        up = [_block(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), b) for a, b in pairwise(rising)]
        last = nn.ConvTranspose2d(WIDTH, 1, 4, 2, 1)
        self.decoder = nn.Sequential(nn.Linear(HIDDEN, flat), nn.Unflatten(1, cells), *up, last)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, 64, 64) to what is left of them, same shape."""
        given: Tensor = self.decoder(self.widen(self.squeeze(self.encoder(images))))
        return given


def _block(convolution: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
