"""How far points lie from others: what stands out among scans that are said to be normal."""

import torch
from torch import Tensor

ROWS = 1024


def outlyingness(points: Tensor, owner: Tensor, bank: Tensor, bank_owner: Tensor, *, k: int = 10) -> Tensor:
    """Mean distance of each point to the k nearest points of a bank that have another owner.

    Points of one owner do not count among themselves: a patient's scans are alike, and would vouch for each other. For
    all alike, fewer than k are taken where the owner with the most points leaves fewer in the bank.

    Args:
        points: Shape (n, F), float32.
        owner: Shape (n,), int64: which patient a point belongs to.
        bank: Shape (m, F), float32; may hold the points themselves.
        bank_owner: Shape (m,), int64.
        k: At least 1.

    Returns:
        Shape (n,), float32; larger stands out more. All zero where the bank has fewer than two owners.

    Source:
        Angiulli & Pizzuti 2002, Fast outlier detection in high dimensional spaces: the weight of a point, the sum of
        these distances; here over other owners, and divided by k.
    """
    found = torch.zeros(len(points))
    others = len(bank) - int(bank_owner.bincount().max()) if len(bank) else 0
    if not others:
        return found
    middle = bank.mean(dim=0)  # distances stay as they are, and the products that they come from lose fewer digits
    known = bank - middle
    for start in range(0, len(points), ROWS):
        part = slice(start, start + ROWS)
        distance = torch.cdist(points[part] - middle, known)
        distance[owner[part, None] == bank_owner] = torch.inf
        found[part] = distance.topk(min(k, others), largest=False).values.mean(dim=1)
    return found
