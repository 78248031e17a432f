"""From the features of a bag of slices to the features of the bag."""

import torch
from torch import Tensor, nn


class MeanPooling(nn.Module):
    """Mean of the slices that are there; the identity for bags of one, which is what radiographs are."""

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Pool (B, N, F) under a mask (B, N) of slices that are there to (B, F)."""
        weights = mask.to(features.dtype)
        weights = weights / weights.sum(dim=1, keepdim=True)
        return (features * weights[..., None]).sum(dim=1)


class AttentionPooling(nn.Module):
    """Gated attention over the slices of a bag.

    a_n = softmax_n( w^T ( tanh(V h_n) * sigmoid(U h_n) ) ),  z = sum_n a_n h_n

    Args:
        num_features: F.
        hidden: Rows of V and U.

    Source:
        Ilse, Tomczak & Welling 2018, Attention-based Deep Multiple Instance Learning, eq. 7 and 9.
    """

    def __init__(self, num_features: int, hidden: int = 64) -> None:
        super().__init__()
        self.tanh = nn.Linear(num_features, hidden)
        self.gate = nn.Linear(num_features, hidden)
        self.score = nn.Linear(hidden, 1)

    def weights(self, features: Tensor, mask: Tensor) -> Tensor:
        """Attention a, shape (B, N), zero where the mask is false."""
        scores = self.score(torch.tanh(self.tanh(features)) * torch.sigmoid(self.gate(features)))[..., 0]
        attention: Tensor = scores.masked_fill(~mask, float("-inf")).softmax(dim=1)
        return attention

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Pool (B, N, F) under a mask (B, N) of slices that are there to (B, F)."""
        return (features * self.weights(features, mask)[..., None]).sum(dim=1)
