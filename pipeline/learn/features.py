"""Backbone features of a data set, computed once and kept by content."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from pipeline.config import Precision
from pipeline.learn.batches import iterate
from pipeline.learn.device import mixed, uses_bfloat16
from pipeline.prepare.cache import SampleStore
from pipeline.workspace import whole_file

BATCH_SLICES = 32


@dataclass(frozen=True, slots=True, eq=False)
class FeatureBags:
    """Features of a data set.

    Attributes:
        features: Shape (n, N, F), float32, zeros where a bag is shorter.
        mask: Shape (n, N), true where a slice is there.
    """

    features: Tensor
    mask: Tensor


def backbone_digest(classifier: SliceBagClassifier) -> str:
    """A hash of the backbone's weights and structure, for cache keys."""
    digest = hashlib.sha256(f"{classifier.backbone.name}|{classifier.backbone.variant}".encode())
    for name, tensor in classifier.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def extract(
    classifier: SliceBagClassifier,
    store: SampleStore,
    contents: Sequence[str],
    *,
    device: torch.device,
    precision: Precision = "float32",
    progress: Callable[[int], None] | None = None,
) -> FeatureBags:
    """Features of every series, kept as float32, from the cache where they are there.

    The network runs in evaluation mode; batches hold about 32 slices.

    Args:
        precision: Training features may be computed in mixed precision, which is some times faster; what is
            measured or calibrated on is float32, as in scoring.
    """
    autocast = uses_bfloat16(device, precision)
    key = backbone_digest(classifier) + ("|bfloat16" if autocast else "")
    paths = [_path(store, content, key) for content in contents]
    todo = [n for n, path in enumerate(paths) if not path.exists()]
    if progress:
        progress(len(paths) - len(todo))
    classifier.to(device).to(memory_format=torch.channels_last).eval()
    batch = max(1, BATCH_SLICES // store.preparation.slices)
    for bags in iterate(store, contents, todo, batch):
        with torch.inference_mode(), mixed(device, precision):
            found = classifier.features(bags.slices[bags.mask].to(device)).float().cpu()
        at = 0
        for n, length in zip(bags.index.tolist(), bags.mask.sum(dim=1).tolist(), strict=True):
            with whole_file(paths[n], mode="wb", synced=False) as file:
                np.save(file, found[at : at + length].numpy(), allow_pickle=False)
            at += length
        if progress:
            progress(len(bags.index))
    arrays = [np.load(path, allow_pickle=False) for path in paths]
    longest = max(len(array) for array in arrays)
    features = torch.zeros(len(arrays), longest, arrays[0].shape[1])
    mask = torch.zeros(len(arrays), longest, dtype=torch.bool)
    for n, array in enumerate(arrays):
        features[n, : len(array)] = torch.from_numpy(array)
        mask[n, : len(array)] = True
    return FeatureBags(features, mask)


def _path(store: SampleStore, content: str, backbone: str) -> Path:
    key = hashlib.sha256(f"{content}|{store.preparation.digest()}|{backbone}".encode()).hexdigest()
    return store.folder / "features" / key[:2] / f"{key[2:]}.npy"
