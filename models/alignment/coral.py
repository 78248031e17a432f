"""Deep CORAL: the covariances of the two domains' features are drawn together."""

from torch import Tensor

from models.alignment.loss import AlignmentLoss, DomainBatch


def covariance(features: Tensor) -> Tensor:
    """C = (D^T D - (1^T D)^T (1^T D) / n) / (n - 1), shape (F, F), of rows D (n, F), n >= 2."""
    centred = features - features.mean(dim=0)
    return centred.T @ centred / (len(features) - 1)


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Distance between the feature covariances of two domains: ||C_s - C_t||_F^2 / (4 F^2).

    The loss is a quarter of the mean squared difference of two covariance entries. On standardised features, whose
    variances are near 1, it is therefore tiny beside a cross-entropy: one feature whose variance differs by 1 adds
    1 / (4 F^2), for F = 1664 not even 1e-7. A weight of 1, as in the paper, then changes little; the paper's
    features were not standardised. The rank of a covariance is below the number of rows, so that small batches
    mostly bring noise.

    Args:
        source, target: Features of the two domains, shape (B, F) and (B', F), B and B' >= 2.

    Returns:
        Scalar, >= 0.

    Source:
        Sun & Saenko 2016, Deep CORAL, eq. 1 to 3.
    """
    size = source.shape[1]
    return (covariance(source) - covariance(target)).square().sum() / (4 * size**2)


class Coral(AlignmentLoss):
    """`coral_loss` of a batch."""

    least_rows = 2

    def __init__(self, num_features: int, seed: int) -> None:
        super().__init__()

    def forward(self, batch: DomainBatch) -> Tensor:
        """The loss, a scalar."""
        return coral_loss(batch.source, batch.target)
