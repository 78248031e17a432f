"""Rates by relative gradients, set at an epoch's start."""

import torch

from models.strategies.auto_rgn import rate_factors, relative_gradients
from pipeline.learn.batches import iterate
from pipeline.learn.steps import Epoch, Steps

BATCHES = 5


def set_relative_rates(steps: Steps, epoch: Epoch, optimizer: torch.optim.Optimizer) -> None:
    """Give every one-tensor group of the optimizer the peak rate base x RGN / max RGN, over five training batches.

    Raises:
        DivergedError: If a loss is not a number.
    """
    groups = [group for group in optimizer.param_groups if "base" in group]
    tensors = [group["params"][0] for group in groups]
    size, seed = steps.config.batch_size, epoch.seed(steps.config.seed) + 700_001
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(steps.train.contents), generator=generator)[: BATCHES * size].tolist()
    found = []
    with torch.random.fork_rng(devices=[steps.device] if steps.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for bags in iterate(steps.train.store, steps.train.contents, order, size):
            optimizer.zero_grad()
            steps.backward(steps.vary(bags.slices, generator), bags)
            found.append(relative_gradients(tensors))
    optimizer.zero_grad()
    for group, factor in zip(groups, rate_factors(found).tolist(), strict=True):
        group["peak"] = group["base"] * factor
