"""SimSiam: two views of one image should predict each other; no negatives, no momentum network, small batches."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 512
BOTTLENECK = 128


class SimSiam(nn.Module):
    """The two small networks on top of a backbone that training needs and that are thrown away after it.

    Projector: three linear layers with batch norm after each (the last without scale and shift) and ReLU between.
    Predictor: a bottleneck of two linear layers, batch norm and ReLU between.

    Args:
        num_features: F.
        seed: Seed of the initial weights; the global generator is left as it was.

    Source:
        Chen & He 2021, Exploring Simple Siamese Representation Learning, section 3, with 512 and 128 units instead
        of 2048 and 512, so that they cost little beside a small backbone.
    """

    def __init__(self, num_features: int, *, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.projector = nn.Sequential(
                nn.Linear(num_features, WIDTH, bias=False),
                nn.BatchNorm1d(WIDTH),
                nn.ReLU(inplace=True),
                nn.Linear(WIDTH, WIDTH, bias=False),
                nn.BatchNorm1d(WIDTH),
                nn.ReLU(inplace=True),
                nn.Linear(WIDTH, WIDTH, bias=False),
                nn.BatchNorm1d(WIDTH, affine=False),
            )
            self.predictor = nn.Sequential(
                nn.Linear(WIDTH, BOTTLENECK, bias=False),
                nn.BatchNorm1d(BOTTLENECK),
                nn.ReLU(inplace=True),
                nn.Linear(BOTTLENECK, WIDTH),
            )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Projections z and predictions p, shape (B, WIDTH) each, of features (B, F)."""
        projections = self.projector(features)
        return projections, self.predictor(projections)


def negative_cosine(predictions: Tensor, projections: Tensor) -> Tensor:
    """D(p, z) = -mean over rows of p . z / (||p|| ||z||), with z as a constant (stop-gradient); shapes (B, D).

    Source:
        Chen & He 2021, eq. 1 and 3.
    """
    return -functional.cosine_similarity(predictions, projections.detach(), dim=1).mean()


def simsiam_loss(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """L = D(p1, z2) / 2 + D(p2, z1) / 2, in -1..1.

    Args:
        first, second: Projections z and predictions p, (B, D) each, of the two views of the same B images.

    Source:
        Chen & He 2021, eq. 4.
    """
    (z1, p1), (z2, p2) = first, second
    return negative_cosine(p1, z2) / 2 + negative_cosine(p2, z1) / 2


def spread(rows: Tensor) -> Tensor:
    """How differently the rows (B, D) point: sqrt(D) times the mean over columns of std(x_c / ||x||).

    1 where the directions are spread evenly, 0 where all rows are one direction: a collapsed representation.

    Source:
        Chen & He 2021, section 4.1, where the standard deviation itself is compared with 1 / sqrt(D).
    """
    directions = functional.normalize(rows.detach().float(), dim=1)
    return directions.std(dim=0, correction=0).mean() * math.sqrt(rows.shape[1])
