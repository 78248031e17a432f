"""MCC: target predictions are made less confused between pairs of classes."""

import torch
from torch import Tensor

from models.alignment.loss import AlignmentLoss, DomainBatch

TEMPERATURE = 2.5


def mcc_loss(logits: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Minimum class confusion of target logits.

    p_i = softmax(z_i / T),  H_i = -sum_c p_ic log p_ic
    w_i = B (1 + exp(-H_i)) / sum_j (1 + exp(-H_j)), without gradient
    C_cd = sum_i w_i p_ic p_id,  C~_cd = C_cd / sum_e C_ce
    loss = (sum_{c != d} C~_cd) / L

    **With two classes it degenerates**: there is one pair to confuse, so that the loss only asks for confident
    predictions, as entropy minimisation does, and where the target is imbalanced it may push the rare class out. It
    helps with about five classes or more. A class whose probabilities all underflow adds nothing. Multi-label logits
    have no softmax and cannot be used.

    Args:
        logits: Of unlabelled target scans, shape (B, L), L >= 2.

    Returns:
        Scalar, 0..(L - 1) / L.

    Source:
        Jin et al. 2020, Minimum Class Confusion for Versatile Domain Adaptation, eq. 2 to 7.
    """
    log_p = (logits / temperature).log_softmax(dim=1)
    p = log_p.exp()
    certainty = 1 + (p * log_p).sum(dim=1).detach().exp()
    weight = len(p) * certainty / certainty.sum()
    confusion = (p * weight[:, None]).T @ p
    confusion = confusion / confusion.sum(dim=1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
    return (confusion.sum() - confusion.trace()) / logits.shape[1]


class ClassConfusion(AlignmentLoss):
    """`mcc_loss` of a batch's target side."""

    def __init__(self, num_features: int, seed: int) -> None:
        super().__init__()

    def forward(self, batch: DomainBatch) -> Tensor:
        """The loss, a scalar."""
        return mcc_loss(batch.target_logits)
