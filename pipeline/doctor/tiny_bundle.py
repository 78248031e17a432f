"""A bundle whose network was never trained, to try out a run with; it knows nothing and says so."""

from pathlib import Path

from models.backbones import build_backbone
from models.bundle import NETWORK, SETTINGS, Bundle, write_bundle
from models.classifier import SliceBagClassifier
from pipeline.config import Config
from pipeline.decide.policy import parse_policy
from pipeline.decide.record import PolicyRecord
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import training_set
from pipeline.model_record import FORMAT, ModelRecord
from pipeline.prepare.samples import Preparation

BACKBONE = "squeezenet1_1"
SIZE = 64
CLASSES = ("normal", "anomaly")


def write_tiny_bundle(folder: Path) -> Bundle:
    """Write an untrained bundle for radiographs, of 3 MB."""
    record = ModelRecord(
        format=FORMAT,
        created="2026-01-01T00:00:00+00:00",
        classes=CLASSES,
        task="multiclass",
        backbone=BACKBONE,
        variant="",
        pooling="mean",
        preparation=Preparation(kind="radiograph", modality="CR/DX", image_size=SIZE, slices=1, intensity="auto"),
        temperature=1.0,
        thresholds=dict.fromkeys(CLASSES, 0.5),
        anomaly_threshold=0.5,
        policy=PolicyRecord(rule=parse_policy("sensitivity=0.95"), measured_on="nothing: never trained"),
        weights={"origin": "random", "sha256": ""},
        training={},
        random_reference=None,
        config=Config(classes=CLASSES, backbone=BACKBONE, weights="none", image_size=SIZE),
    )
    network = SliceBagClassifier(build_backbone(BACKBONE, seed=1), len(CLASSES), pooling="mean", seed=1)
    return write_bundle(
        folder,
        {SETTINGS: record.to_yaml(), TRAINING_SET: training_set(()).to_json()},
        {NETWORK: network.state_dict()},
    )
