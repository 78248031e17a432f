"""Grad-CAM of a classifier: where it looked, slice by slice, weighted as its pooling weighs the slices."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.visualize.class_activation_maps import GradCAM
from monai.visualize.visualizer import default_upsampler
from torch import Tensor, nn

from models.classifier import SliceBagClassifier
from models.detectors.cells import enlarge, stage_grids
from models.pooling import AttentionPooling
from pipeline.score.maps.drawing import Drawn
from pipeline.score.outcome import Outcome

HALF = 0.5  # of the peak, from which a segmentation takes a voxel in: a classifier has no threshold for places
BATCH = 16


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


class GradCamDraw:
    """Draws Grad-CAM of the abnormal class that is most probable.

    A bag's feature is the weighted mean of its slices' features and the head is linear, so that a slice's share of the
    logit, its attention held fixed, is its weight times its own logit: each slice's CAM is multiplied by its weight.
    CAMs are taken at each stage whose features the head reads, and added up: each is in units of the logit. Each is
    enlarged by where its stage's cells really lie on the image, which `models.detectors.cells` measures on the network.
    The maps of a scan are brought to a peak of 1.

    Args:
        classifier: In evaluation mode.
        classes: Names, the normal class first.
        device: Where the classifier is.

    Source:
        Selvaraju et al. 2017, by MONAI, without its default normaliser, which turns the scale over.
    """

    def __init__(self, classifier: SliceBagClassifier, classes: Sequence[str], device: torch.device) -> None:
        self.classifier, self.classes, self.device = classifier, classes, device
        network = _OneSlice(classifier).eval()
        backbone = classifier.backbone
        self.rows: dict[tuple[str, int], Tensor] = {}
        self.cams = [  # made once, since each hangs hooks on the network that stay
            GradCAM(
                nn_module=network,
                target_layers=f"classifier.backbone.{module}",
                upsampler=self._upsampler(tap) if backbone.stages else default_upsampler,
                postprocessing=lambda heat: heat,
            )
            for tap, module in zip(backbone.taps, backbone.tap_modules, strict=bool(backbone.stages))
        ]

    def _upsampler(self, stage: str) -> Callable[[Sequence[int]], Callable[[Tensor], Tensor]]:
        """As MONAI asks for one: from the image's size to a function that brings a CAM (B, 1, h, h) to it."""

        def of_size(size: Sequence[int]) -> Callable[[Tensor], Tensor]:
            side = int(size[-1])
            if (stage, side) not in self.rows:
                self.rows |= {
                    (name, side): grid.enlarge(side)
                    for name, grid in stage_grids(self.classifier.backbone, side).items()
                }
            rows = self.rows[stage, side].to(self.device)
            return lambda heat: enlarge(heat.flatten(0, 1).float(), rows)[:, None]

        return of_size

    def __call__(self, slices: Tensor, outcome: Outcome) -> Drawn:
        """Maps of a scan's slices (N, C, S, S) in [0, 1]."""
        label = 1 + int(np.argmax(outcome.probability[1:]))
        return Drawn(self.maps(slices, label).numpy(), self.classes[label], HALF)

    def maps(self, slices: Tensor, label: int) -> Tensor:
        """Maps (N, S, S), 0..1, of a class, larger where the slices speak for it; all 0 if none does."""
        maps = torch.stack([self._one(image, label) for image in slices])
        maps *= self.slice_weights(slices)[:, None, None]
        top = maps.max()
        return maps / top if top > 0 else torch.zeros_like(maps)

    def slice_weights(self, slices: Tensor) -> Tensor:
        """What the pooling weighs each of the slices (N, C, S, S) by, shape (N,), sum 1."""
        pooling = self.classifier.pooling
        if len(slices) == 1 or not isinstance(pooling, AttentionPooling):
            return torch.full((len(slices),), 1 / len(slices))
        with torch.inference_mode():
            features = [self.classifier.features(part.to(self.device)) for part in slices.split(BATCH)]
            mask = torch.ones(1, len(slices), dtype=torch.bool, device=self.device)
            return pooling.weights(self.classifier.norm(torch.cat(features))[None], mask)[0].cpu().clone()

    def _one(self, image: Tensor, label: int) -> Tensor:
        """CAM (S, S) of one slice (C, S, S), in units of the logit, >= 0."""
        shown = image[None].expand(-1, 3, -1, -1).to(self.device)
        heat = [torch.as_tensor(cam(x=shown, class_idx=label))[0, 0].detach().cpu().float() for cam in self.cams]
        return torch.stack(heat).sum(dim=0)
