"""The network of a plan: backbone, head, initial weights, and what the strategy does with them."""

import os
from pathlib import Path

from models.alignment import LOSSES
from models.backbones import Backbone, build_backbone, joined
from models.bundle import NETWORK, open_bundle
from models.classifier import Pooling, SliceBagClassifier
from models.errors import WeightsNotFoundError
from models.strategies import STRATEGIES
from models.strategies.phase import Phase, backbone_groups, group_names
from models.weights import WeightsFile, find_weights, load_weights
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.learn.backbone_candidates import available_backbones
from pipeline.model_record import read_record
from pipeline.prepare.samples import Preparation

WEIGHTS_FOLDER = "SCANSHIFT_WEIGHTS"
AUTO = "auto"


def build_network(
    name: str, classes: int, preparation: Preparation, config: Config
) -> tuple[SliceBagClassifier, tuple[Phase, ...], dict[str, str]]:
    """The classifier with its initial weights, what is done with it, and where the weights came from."""
    one_class = config.task == "one_class"
    auto = config.strategy == AUTO and not one_class
    backbone = build_backbone(joined(name) if auto else name, seed=config.seed)
    if config.image_size < backbone.min_size:
        raise ConfigError(f"image_size {config.image_size}: {name} needs at least {backbone.min_size}")
    pooling: Pooling = "mean" if auto or one_class else pooling_for(preparation)
    classifier = SliceBagClassifier(backbone, classes, pooling=pooling, seed=config.seed)
    phases = () if auto or one_class else tuple(STRATEGIES[config.strategy](classifier))
    if config.align in LOSSES and phases and all(phase.cached for phase in phases):
        phases = (*phases, aligning_phase(classifier))
    random = config.weights == "none" or any(phase.start == "random" for phase in phases[:1])
    weights = {"origin": "random", "sha256": ""} if random else _load(backbone, config)
    return classifier, phases, weights


def aligning_phase(classifier: SliceBagClassifier) -> Phase:
    """What a strategy that leaves the backbone alone is followed by, where features are to be aligned."""
    backbone = backbone_groups(classifier)
    return Phase(name="align", groups=group_names(classifier), rates=dict.fromkeys(backbone, 0.1))


def stand_in() -> str:
    """A backbone that has weights here: until the scans are prepared, on which `backbone: auto` measures all of them.

    Raises:
        WeightsNotFoundError: If none has.
    """
    usable = [found.backbone for found in available_backbones(weights_folder()) if not found.reason]
    if not usable:
        raise WeightsNotFoundError(
            f"backbone auto: no weights are on this machine; set {WEIGHTS_FOLDER} to a folder with a weights.json, or "
            "name a backbone, whose weights are then fetched"
        )
    return usable[0]


def weights_folder() -> Path | None:
    """The folder that `$SCANSHIFT_WEIGHTS` names, if any."""
    name = os.environ.get(WEIGHTS_FOLDER, "")
    return Path(name) if name else None


def _load(backbone: Backbone, config: Config) -> dict[str, str]:
    given = Path(config.weights)
    if given.is_dir():
        file = _of_bundle(backbone, given)
    else:
        file = find_weights(backbone.name, config.weights, folder=weights_folder())
    found = {"origin": file.origin, "sha256": load_weights(backbone, file)}
    return found | ({"licence": file.licence} if file.licence else {})


def _of_bundle(backbone: Backbone, folder: Path) -> WeightsFile:
    """The network of a bundle, adapted before.

    Raises:
        BundleError: If it is incomplete or altered.
        ConfigError: If it is another network.
    """
    bundle = open_bundle(folder)
    record = read_record(bundle)
    if record.backbone.partition("@")[0] != backbone.name.partition("@")[0]:
        raise ConfigError(f"weights: the bundle holds {record.backbone}, and backbone is {backbone.name}")
    licence = record.weights.get("licence", "")
    return WeightsFile(folder / NETWORK, "", f"bundle {bundle.digest[:12]}", record.variant, licence)


def pooling_for(preparation: Preparation) -> Pooling:
    """Attention over the slices of a volume, nothing to pool for single images."""
    return "attention" if preparation.kind == "volume" else "mean"
