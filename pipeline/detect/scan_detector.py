"""A detector as it stands in a bundle: from the slices of a scan to its raw score, and to its maps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.backbones import build_backbone
from models.bundle import Bundle
from models.detectors import DETECTORS
from models.detectors.detector import Detector
from models.detectors.places import PlaceProfile
from models.detectors.pooling import top_k_mean
from models.errors import BundleError, DetectorError
from models.registry import lookup
from pipeline.decide.conformal import ConformalScale, conformal_scale
from pipeline.decide.decision_scores import NORMAL, read_decision_scores
from pipeline.detect.slices import Slices, in_batches, places
from pipeline.model_record import ModelRecord
from pipeline.prepare.cache import SampleStore

BACKBONE, LEARNED, PLACES = "backbone.", "learned.", "places."
CHUNK_SCANS = 32


@dataclass(frozen=True, slots=True, eq=False)
class ScanDetector:
    """A fitted detector of scans.

    Attributes:
        detector: Scores slices.
        profile: How normal slices score along a volume; None for single images.
        top_share: Share of the highest slice scores whose mean is the scan's.
    """

    detector: Detector
    profile: PlaceProfile | None
    top_share: float

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.detector.input_mean.device

    def slice_scores(self, samples: Sequence[Slices]) -> list[Tensor]:
        """Scores (N,) of the slices of prepared scans (N, C, S, S) each, as the detector gives them."""
        return in_batches(samples, lambda images: self.detector.score(images).score, self.device)

    def scan_score(self, scores: Tensor) -> float:
        """A scan's raw score from the scores (N,) of its slices, float32; larger is less normal."""
        if self.profile is not None:
            scores = self.profile.standardise(scores, places(len(scores)))
        return float(top_k_mean(scores, self.top_share))

    def maps(self, slices: Tensor) -> Tensor | None:
        """Maps (N, S, S) of a scan's slices (N, C, S, S) in [0, 1], standardised as the scores are; None without."""
        if not self.detector.has_maps:
            return None
        found: list[Tensor] = []
        with torch.inference_mode():
            for part in slices.split(8):
                maps = self.detector.score(part.to(self.device), maps=True).maps
                if maps is None:
                    return None
                found.append(maps.cpu())
        together = torch.cat(found)
        if self.profile is None:
            return together
        return self.profile.standardise(together, places(len(together)))

    def raw_scores(
        self, store: SampleStore, contents: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> npt.NDArray[np.float64]:
        """Raw scores (n,) of scans in the store, some at a time."""
        found: list[float] = []
        for n in range(0, len(contents), CHUNK_SCANS):
            chunk = contents[n : n + CHUNK_SCANS]
            found += [self.scan_score(s) for s in self.slice_scores([store.load(content) for content in chunk])]
            if progress:
                progress(len(chunk))
        return np.array(found, np.float64)

    def state(self) -> dict[str, Tensor]:
        """Everything that `load_detector` needs, as plain tensors."""
        parts: list[tuple[str, Mapping[str, Tensor]]] = [
            (BACKBONE, self.detector.backbone.state_dict()),
            (LEARNED, self.detector.learned()),
            (PLACES, {} if self.profile is None else self.profile.learned()),
        ]
        return {prefix + name: tensor.detach().cpu() for prefix, part in parts for name, tensor in part.items()}


def load_detector(bundle: Bundle, record: ModelRecord, device: torch.device) -> ScanDetector:
    """The bundle's detector.

    Raises:
        BundleError: If it holds none, or its tensors do not fit what it says.
    """
    about = record.detector
    if about is None:
        raise BundleError(f"{bundle.folder}: not a bundle of an anomaly detector")
    tensors = bundle.tensors()
    if not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise BundleError(f"{bundle.folder}: the weights are not tensors")
    backbone = build_backbone(record.backbone, variant=record.variant)
    try:
        backbone.load_state_dict(_part(tensors, BACKBONE))
        detector = lookup("detector", DETECTORS, about.name)(
            backbone,
            image_size=record.preparation.image_size,
            stages=about.stages,
            seed=record.config.seed,
            reduced=about.reduced,
        )
        detector.take(_part(tensors, LEARNED))
        profile = PlaceProfile.take(_part(tensors, PLACES)) if about.placed else None
    except (RuntimeError, TypeError, AttributeError, KeyError, DetectorError) as error:
        raise BundleError(f"{bundle.folder}: the weights do not fit {about.name} on {record.backbone}") from error
    return ScanDetector(detector.eval().to(device), profile, about.top_share)


def read_scale(bundle: Bundle, record: ModelRecord) -> ConformalScale:
    """The scale of a detector's held-out normals.

    Raises:
        BundleError, PolicyError: If the bundle keeps none, or it makes no sense.
    """
    return conformal_scale(*read_decision_scores(bundle, labels=len(record.classes), one_class=True).of(NORMAL))


def raw_threshold(record: ModelRecord) -> float:
    """The raw score from which a scan is called abnormal; for `false_alarm`, exactly where its p-value says so.

    Raises:
        BundleError: If the record has none.
    """
    found = record.policy.raw_threshold
    if found is None:
        raise BundleError("the policy of a detector's bundle names no raw threshold")
    return found


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
