"""Grad-CAM overlays: where the network looked, on the slice that weighed most."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from monai.visualize.class_activation_maps import GradCAM
from PIL import Image
from torch import Tensor, nn

from models.classifier import SliceBagClassifier
from models.pooling import AttentionPooling
from pipeline.errors import ScanError
from pipeline.ingest.read import read_scan
from pipeline.prepare.samples import prepare, to_tensor
from pipeline.scan import SeriesRef
from pipeline.score.scorer import Scorer
from pipeline.workspace import pseudonym, safe_cell, whole_file

OVERLAY = 0.45


class _OneSlice(nn.Module):
    """The classifier as a function of one image, which is what Grad-CAM asks for."""

    def __init__(self, classifier: SliceBagClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, L) of images (B, 3, S, S) in [0, 1], each a bag of one."""
        mask = torch.ones(len(images), 1, dtype=torch.bool, device=images.device)
        logits: Tensor = self.classifier(images[:, None], mask)
        return logits


def attended_slice(scorer: Scorer, slices: Tensor) -> int:
    """Position of the slice with the greatest attention, of slices (N, C, S, S); 0 for a bag of one."""
    pooling = scorer.classifier.pooling
    if len(slices) == 1 or not isinstance(pooling, AttentionPooling):
        return 0
    with torch.inference_mode():
        features = scorer.classifier.norm(scorer.classifier.features(slices.to(scorer.device)))[None]
        mask = torch.ones(1, len(slices), dtype=torch.bool, device=scorer.device)
        return int(pooling.weights(features, mask).argmax())


def grad_cam(scorer: Scorer, image: Tensor, label: int) -> npt.NDArray[np.float32]:
    """Grad-CAM of a class, shape (S, S), 0..1, larger where it speaks for the class.

    It is taken at each stage whose features the head reads, and added up: each is in units of the logit.

    Args:
        image: One slice (C, S, S) in [0, 1].
        label: Position of the class.

    Source:
        Selvaraju et al. 2017, by MONAI, without its default normaliser, which turns the scale over.
    """
    network = _OneSlice(scorer.classifier).eval()
    values: npt.NDArray[np.float32] = np.zeros(image.shape[-2:], np.float32)
    for tap in scorer.classifier.backbone.tap_modules:
        layer = f"classifier.backbone.{tap}"
        cam = GradCAM(nn_module=network, target_layers=layer, postprocessing=lambda heat: heat)
        heat = cam(x=image[None].expand(-1, 3, -1, -1).to(scorer.device), class_idx=label)[0, 0]
        values += torch.as_tensor(heat).detach().cpu().numpy().astype(np.float32)
    top = values.max()
    return values / top if top > 0 else np.zeros_like(values)


def overlay(image: npt.NDArray[np.float32], heat: npt.NDArray[np.float32]) -> Image.Image:
    """The image (S, S) or (S, S, 3) in [0, 1] with the heat (S, S) over it, from clear to orange."""
    grey = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    weight = OVERLAY * heat[..., None]
    mixed = grey * (1 - weight) + np.array([0.90, 0.46, 0.0], np.float32) * weight + 0.15 * weight
    return Image.fromarray((mixed.clip(0, 1) * 255).round().astype(np.uint8))


def write_heatmaps(
    scorer: Scorer,
    refs: Sequence[SeriesRef],
    out: Path,
    key: bytes,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write one PNG a series, named by a pseudonym, and `index.csv` (mode 0600) that tells which is which.

    Returns:
        Number of pictures.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: list[list[str]] = []
    for ref in refs:
        try:
            sample = prepare(read_scan(ref), scorer.record.preparation)
        except ScanError:
            continue
        slices = to_tensor(sample.slices)
        n = attended_slice(scorer, slices)
        probability = scorer.score([sample.slices])[0].probability
        label = 1 + int(np.argmax(probability[1:]))
        picture = overlay(np.squeeze(slices[n].permute(1, 2, 0).numpy()), grad_cam(scorer, slices[n], label))
        name = f"{pseudonym(key, ref.series_uid)}.png"
        with whole_file(out / name, mode="wb") as file:
            picture.save(file, format="PNG")
        rows.append([ref.source, safe_cell(ref.series_uid), safe_cell(scorer.record.classes[label]), str(n), name])
        if progress:
            progress(1)
    with whole_file(out / "index.csv", private=True) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["source", "series_uid", "class", "slice", "file"])
        writer.writerows(sorted(rows))
    return len(rows)
