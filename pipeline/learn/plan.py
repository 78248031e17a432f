"""What an adaptation would do, found out before it does anything long."""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from models.backbones import Backbone, build_backbone
from models.classifier import Pooling, SliceBagClassifier
from models.registry import lookup
from models.strategies import STRATEGIES
from models.strategies.phase import Phase
from models.weights import WeightsFile, find_weights, load_weights
from pipeline.config import Config
from pipeline.errors import CohortError, ConfigError
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.device import choose_device
from pipeline.prepare.cohort import Cohort, build_cohort, check_trainable, load_rows
from pipeline.prepare.labels import LabelRow
from pipeline.prepare.samples import Preparation
from pipeline.prepare.split import Split
from pipeline.scan import SeriesRef, modality_group
from pipeline.watch import Watch
from pipeline.workspace import Workspace, require_space

WEIGHTS_FOLDER = "SCANSHIFT_WEIGHTS"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A checked adaptation.

    Attributes:
        config: The configuration, with its classes filled in.
        cohort: Who is trained, validated and left for the test.
        preparation: How scans are prepared.
        classifier: The network with its initial weights.
        phases: What the strategy does.
        weights: Where the initial weights came from and their SHA-256.
        device: Where it will run.
    """

    config: Config
    cohort: Cohort
    preparation: Preparation
    classifier: SliceBagClassifier
    phases: tuple[Phase, ...]
    weights: dict[str, str]
    device: torch.device

    @property
    def pooling(self) -> Pooling:
        """How slices become a bag."""
        return pooling_for(self.preparation)

    def counts(self) -> dict[str, dict[str, int]]:
        """Side to class to number of scans, with the number of patients beside."""
        table: dict[str, dict[str, int]] = {}
        for split in get_args(Split):
            cases = self.cohort.side(split)
            labels = Counter(label for case in cases for label in case.labels)
            table[split] = {name: labels[name] for name in self.cohort.classes}
            table[split]["patients"] = len({case.patient for case in cases})
        return table

    def digest(self) -> str:
        """A hash of all that decides the training, for its checkpoint."""
        text = hashlib.sha256(self.config.model_dump_json().encode())
        text.update(self.preparation.digest().encode())
        text.update(repr(sorted(self.weights.items())).encode())
        text.update(torch.__version__.encode())
        for case in self.cohort.cases:
            text.update(f"{case.ref.key}|{case.labels}|{case.split}\n".encode())
        return text.hexdigest()[:24]


def make_plan(labels: Path, workspace: Workspace, config: Config, watch: Watch) -> Plan:
    """Check everything that can be checked before training: labels, scans' headers, splits, weights, device, disk.

    Raises:
        PipelineError, ModelError: For whatever would make the run fail later.
    """
    if config.task == "one_class":
        raise ConfigError("task one_class is not available in this version; use multiclass with two classes")
    strategy = lookup("strategy", STRATEGIES, config.strategy)
    device = choose_device(config.device)
    rows = load_rows(labels, config)
    cohort = build_cohort(labels, rows, find_series(rows, workspace, watch), config)
    check_trainable(cohort, config)
    config = config.model_copy(update={"classes": cohort.classes})
    preparation = preparation_of(cohort, config)
    require_space(workspace.root, _disk_bytes(cohort, preparation))
    backbone = build_backbone(config.backbone, seed=config.seed)
    if config.image_size < backbone.min_size:
        raise ConfigError(f"image_size {config.image_size}: {config.backbone} needs at least {backbone.min_size}")
    classifier = SliceBagClassifier(backbone, len(cohort.classes), pooling=pooling_for(preparation), seed=config.seed)
    phases = tuple(strategy(classifier))
    random = phases[0].start == "random" or config.weights == "none"
    weights = {"origin": "random", "sha256": ""} if random else _load(backbone, config)
    if random:
        note = f"weights are random, as {'the strategy' if config.weights != 'none' else 'weights=none'} asks"
        cohort = replace(cohort, notes=(*cohort.notes, note))
    return Plan(config, cohort, preparation, classifier, phases, weights, device)


def describe(plan: Plan) -> dict[str, Any]:
    """What `--dry-run` tells of a plan, without identity."""
    return {
        "classes": ", ".join(plan.cohort.classes),
        "scans": plan.counts(),
        "left out": len(plan.cohort.left_out),
        "kind": f"{plan.preparation.kind}, {plan.preparation.modality}",
        "backbone": f"{plan.config.backbone}, {plan.classifier.backbone.num_features} features",
        "weights": plan.weights["origin"],
        "strategy": f"{plan.config.strategy}: {', '.join(phase.name for phase in plan.phases)}",
        "device": str(plan.device),
        "notes": list(plan.cohort.notes),
    }


def find_series(rows: Sequence[LabelRow], workspace: Workspace, watch: Watch) -> list[SeriesRef]:
    """Ingest what the rows name: their paths, and from the catalogue the series that they name by UID."""
    paths = [Path(row.path) for row in rows if row.path]
    uids = [row.series_uid for row in rows if row.series_uid]
    with contextlib.closing(Catalog(workspace.catalog_url)) as catalog:
        refs = scan_sources(paths, catalog=catalog, progress=watch.count("reading headers", len(paths)))
        return refs + (catalog.find(uids) if uids else [])


def weights_folder() -> Path | None:
    """The folder that `$SCANSHIFT_WEIGHTS` names, if any."""
    name = os.environ.get(WEIGHTS_FOLDER, "")
    return Path(name) if name else None


def _load(backbone: Backbone, config: Config) -> dict[str, str]:
    file: WeightsFile = find_weights(config.backbone, config.weights, folder=weights_folder())
    return {"origin": file.origin, "sha256": load_weights(backbone, file)}


def preparation_of(cohort: Cohort, config: Config) -> Preparation:
    """The preparation for a cohort.

    Raises:
        CohortError: If its scans are of several kinds or modality groups.
    """
    found = Counter((case.ref.kind, modality_group(case.ref.modality)) for case in cohort.cases)
    if len(found) > 1:
        names = ", ".join(f"{count} {kind} {group}" for (kind, group), count in found.most_common())
        raise CohortError(f"scans of several kinds in one labels.csv ({names}); a model is for one kind")
    kind, group = next(iter(found))
    return Preparation(
        kind=kind,
        modality=group,
        image_size=config.image_size,
        slices=config.slices if kind == "volume" else 1,
        intensity=config.intensity,
        window=config.window,
    )


def pooling_for(preparation: Preparation) -> Pooling:
    """Attention over the slices of a volume, nothing to pool for single images."""
    return "attention" if preparation.kind == "volume" else "mean"


def _disk_bytes(cohort: Cohort, preparation: Preparation) -> int:
    per_scan = preparation.slices * preparation.image_size**2 * 2 * 1.1
    return int(len(cohort.cases) * per_scan)
