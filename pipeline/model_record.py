"""What a bundle says of itself (configs/scanshift.yaml), and the classifier that it holds."""

from typing import Any

import torch
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from models.backbones import build_backbone
from models.bundle import SETTINGS, Bundle
from models.classifier import Pooling, SliceBagClassifier
from models.errors import BundleError
from pipeline.config import Config, Task
from pipeline.decide.prediction_sets import SetRecord
from pipeline.decide.record import PolicyRecord
from pipeline.detect.record import DetectorRecord
from pipeline.gate.header_record import HeaderRanges
from pipeline.gate.record import GateRecord
from pipeline.prepare.samples import Preparation

FORMAT = 1
RANDOM_HEAD = "models/random_head.pt"


class RandomReference(BaseModel):
    """The same head on randomly initialised weights, kept as a seed instead of a network.

    Attributes:
        seed: Seed of the random backbone.
        torch: Version that made it.
        checksum: Hash of its weights; where another version draws other numbers, the reference is not shown.
        temperature: Of its own calibration.
        val_auroc: Its macro AUROC on the validation rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    torch: str
    checksum: str
    temperature: float
    val_auroc: float


class ModelRecord(BaseModel):
    """Everything that scoring needs, and where it comes from.

    Attributes:
        format: Version of this file's format.
        created: UTC time, ISO 8601.
        classes, task: As configured; the first class is the normal one.
        backbone, variant, pooling: The network.
        preparation: How scans are prepared.
        temperature: Of temperature scaling.
        bias: Added to each class's logit after that, for the target's mix of classes; empty for none.
        thresholds: Class to one-versus-rest threshold on its calibrated probability.
        anomaly_threshold: Threshold on the anomaly score that decides.
        policy: How the anomaly threshold was chosen.
        parent: Digest of the bundle that this one has its weights from, and another policy; else empty.
        weights: Where the initial weights came from, and their SHA-256; `random` if they were asked for.
        training: Counts of scans and patients by side and class.
        random_reference: See there.
        detector: Of an anomaly detector's bundle; None where it holds a classifier.
        gate: How far a scan may lie from those learned from; None where nothing can be said.
        sets: Limits of the prediction sets; None for a detector, where none were asked for, and in bundles from before.
        headers: What the headers of training stated; None where too few did, and in bundles from before.
        config: The configuration that ran.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    created: str
    classes: tuple[str, ...]
    task: Task
    backbone: str
    variant: str
    pooling: Pooling
    preparation: Preparation
    temperature: float
    bias: tuple[float, ...] = ()
    thresholds: dict[str, float]
    anomaly_threshold: float
    policy: PolicyRecord
    parent: str = ""
    weights: dict[str, str]
    training: dict[str, dict[str, int]]
    random_reference: RandomReference | None
    detector: DetectorRecord | None = None
    gate: GateRecord | None = None
    sets: SetRecord | None = None
    headers: HeaderRanges | None = None
    config: Config

    @model_validator(mode="after")
    def _sets_of_these_classes(self) -> "ModelRecord":
        if self.sets is not None:
            named = [tuple(self.sets.present), *([tuple(self.sets.absent)] if self.task == "multilabel" else [])]
            if any(names != self.classes for names in named) or (self.task != "multilabel" and self.sets.absent):
                raise ValueError("sets: their classes are not those of the bundle")
        return self

    @property
    def measured_on(self) -> str:
        """The scans that thresholds and temperature were chosen on, in words."""
        return self.policy.measured_on

    def to_yaml(self) -> str:
        """The text of configs/scanshift.yaml."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_record(bundle: Bundle) -> ModelRecord:
    """Read and check configs/scanshift.yaml.

    Raises:
        BundleError: If it is of another format version or makes no sense.
    """
    try:
        values: Any = yaml.safe_load(bundle.text(SETTINGS))
        found = values.get("format")
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise BundleError(f"{bundle.folder}: {SETTINGS} is not readable") from error
    if found != FORMAT:
        raise BundleError(
            f"{bundle.folder}: bundle format {found}, this version reads {FORMAT}; adapt again to convert"
        )
    try:
        return ModelRecord.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleError(f"{bundle.folder}: {SETTINGS}: {place}: {first['msg']}") from error


def load_classifier(bundle: Bundle, record: ModelRecord) -> SliceBagClassifier:
    """The bundle's network with its weights, in evaluation mode.

    Raises:
        BundleError: If the weights do not fit the network that the record names.
    """
    backbone = build_backbone(record.backbone, variant=record.variant)
    classifier = SliceBagClassifier(backbone, len(record.classes), pooling=record.pooling)
    try:
        classifier.load_state_dict(bundle.tensors())
    except (RuntimeError, TypeError, AttributeError) as error:
        raise BundleError(f"{bundle.folder}: the weights do not fit {record.backbone}") from error
    return classifier.eval()


def top_state(classifier: SliceBagClassifier) -> dict[str, torch.Tensor]:
    """The tensors above the backbone: normalisation of features, pooling, head."""
    return {name: tensor for name, tensor in classifier.state_dict().items() if not name.startswith("backbone.")}
