"""The network through which scans are looked at: a bundle's, or a pretrained backbone's without a head."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.backbones import Backbone, build_backbone
from models.bundle import Bundle
from models.classifier import SliceBagClassifier
from models.state_names import longest_cut, missing_stages, source_names
from models.weights import find_weights, load_weights, read_state
from pipeline.config import Config, Task
from pipeline.errors import CohortError, ConfigError
from pipeline.learn.features import FeatureBags, extract
from pipeline.learn.network import weights_folder
from pipeline.model_record import load_classifier, read_record
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import Preparation
from pipeline.scan import SeriesRef, modality_group

CHUNK = 128

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """A network in evaluation mode and how scans are prepared for it.

    Attributes:
        classifier: Its backbone, standardisation of features and pooling; the head where there are classes.
        preparation: How scans are prepared.
        device: Where the network runs.
        name: What a report calls it.
        weights: Where its weights come from.
        digest: Of the bundle; empty without one.
        classes: Class names; empty where there is no head.
        task: What its logits mean.
        temperature, bias: Of its calibration.
        notes: What a reader must know of it.
    """

    classifier: SliceBagClassifier
    preparation: Preparation
    device: torch.device
    name: str
    weights: str
    digest: str = ""
    classes: tuple[str, ...] = ()
    task: Task = "multiclass"
    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    def embed(
        self, store: SampleStore, contents: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> tuple[Floats, Floats]:
        """Standardised features pooled over the bag, shape (n, F), and calibrated logits, shape (n, L).

        Logits are divided by the temperature and get the bias; without classes L is 1 and they mean nothing.
        """
        parts = []
        for at in range(0, len(contents), CHUNK):
            chunk = contents[at : at + CHUNK]
            parts.append(self._pooled(extract(self.classifier, store, chunk, device=self.device, progress=progress)))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _pooled(self, bags: FeatureBags) -> tuple[Floats, Floats]:
        network = self.classifier
        with torch.inference_mode():
            mask = bags.mask.to(self.device)
            features = network.pooling(network.norm(bags.features.to(self.device)), mask)
            logits = network.head(features)
        return features.float().cpu().numpy(), self.calibrated(logits.float().cpu().numpy())

    def calibrated(self, logits: Floats) -> Floats:
        """Logits (n, L) of the head as probabilities go by them: logits / T + b."""
        return np.asarray(logits / self.temperature + np.array(self.bias or (0.0,)), np.float32)

    def standardise(self, store: SampleStore, contents: Sequence[str]) -> None:
        """Take the mean and deviation of features from these scans, for a backbone that comes without."""
        features, _ = self.embed(store, contents)
        self.classifier.norm.fit(torch.from_numpy(features))


def bundle_encoder(bundle: Bundle, device: torch.device) -> Encoder:
    """The encoder, preparation and classifier of a bundle.

    Raises:
        BundleError: If its record or weights make no sense.
    """
    record = read_record(bundle)
    return Encoder(
        classifier=load_classifier(bundle, record).to(device),
        preparation=record.preparation,
        device=device,
        name=record.backbone,
        weights=f"bundle {bundle.digest[:12]}",
        digest=bundle.digest,
        classes=record.classes,
        task=record.task,
        temperature=record.temperature,
        bias=record.bias,
    )


def backbone_encoder(config: Config, refs: Sequence[SeriesRef], device: torch.device) -> Encoder:
    """A pretrained backbone without a head, for scans of one kind.

    Weights that cover only the first stages of the network make it end there, and a note says so.

    Raises:
        CohortError: If the scans are of several kinds.
        ConfigError: If the image size is too small for the backbone, or the backbone is `auto`.
        ModelError: If the backbone or its weights are not to be had.
    """
    if config.backbone == "auto":
        raise ConfigError("backbone auto: a shift is measured through one backbone; name it, or give a bundle")
    preparation = preparation_for(refs, config)
    if config.weights == "none":
        backbone, origin = build_backbone(config.backbone, seed=config.seed), "random, as weights=none asks"
        notes = ["the backbone's weights are random, as weights=none asks: the sizes mean little"]
    else:
        backbone, origin, notes = _pretrained(config)
    if config.image_size < backbone.min_size:
        raise ConfigError(f"image_size {config.image_size}: {config.backbone} needs at least {backbone.min_size}")
    classifier = SliceBagClassifier(backbone, 1, pooling="mean", seed=config.seed).eval()
    return Encoder(classifier.to(device), preparation, device, backbone.name, origin, notes=tuple(notes))


def _pretrained(config: Config) -> tuple[Backbone, str, list[str]]:
    file = find_weights(config.backbone, config.weights, folder=weights_folder())
    backbone = build_backbone(config.backbone, seed=config.seed)
    state, _ = read_state(file)
    missing = missing_stages(source_names(backbone), state)
    cut = longest_cut(backbone, missing) if missing else ""
    notes = []
    if cut and "@" not in backbone.name:
        backbone = build_backbone(cut, seed=config.seed)
        notes = [f"the weights of {config.backbone} are incomplete, so features are taken where they end: {cut}"]
    load_weights(backbone, file)
    return backbone, file.origin, notes


def preparation_for(refs: Sequence[SeriesRef], config: Config) -> Preparation:
    """The preparation for scans of one kind.

    Raises:
        CohortError: If they are of several kinds or modality groups.
    """
    found = sorted({(ref.kind, modality_group(ref.modality)) for ref in refs})
    if len(found) > 1:
        names = ", ".join(f"{kind} {group}" for kind, group in found)
        raise CohortError(f"REFERENCE: scans of several kinds ({names}); a shift is measured within one kind")
    kind, group = found[0]
    return Preparation(
        kind=kind,
        modality=group,
        image_size=config.image_size,
        slices=config.slices if kind == "volume" else 1,
        intensity=config.intensity,
        window=config.window,
        crop=config.crop,
    )
