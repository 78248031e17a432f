"""`backbone: auto`: every backbone that has weights here, measured by a cross-validated probe on cached features."""

from collections.abc import Sequence
from pathlib import Path

import torch

from models.backbones import ALL
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.learn.backbone_candidates import Candidate, available_backbones
from pipeline.learn.backbone_measure import measure_backbone
from pipeline.learn.backbone_rows import BackboneChoice, BackboneRow, choose, ranked
from pipeline.learn.cross_probe import Probe
from pipeline.learn.fit import LabelledSet
from pipeline.learn.folds import Fold, grouped_folds
from pipeline.watch import Watch

AUTO = "auto"
FOLDS = 5
PROBED_ROWS = 2000
LEAST_REPEATS, MOST_REPEATS = 2, 10


def choose_backbone(
    train: LabelledSet,
    patients: Sequence[str],
    *,
    config: Config,
    device: torch.device,
    watch: Watch,
    folder: Path | None,
) -> BackboneChoice:
    """Measure what has weights here and choose the two to adapt; a second run with the same scans reuses features.

    Args:
        train: The labelled training rows; their samples are in the store.
        patients: Patient of each row.
        config: `backbone` is `auto`, or `auto@all` for features of all stages; seed and precision.
        device: Where the networks run.
        watch: Where progress is told.
        folder: Folder with a `weights.json`, or None.

    Raises:
        ConfigError: If `weights` names a file or random weights, which cannot be compared between backbones.
        CohortError: If there are not two labels with two patients each.
        WeightsNotFoundError: If no backbone could be measured.
    """
    if config.weights not in ("imagenet", "DEFAULT"):
        raise ConfigError(f"weights {config.weights}: backbone {config.backbone} compares imagenet weights; name one")
    repeats = repeats_for(len(train.contents))
    folds = grouped_folds(train.targets, patients, folds=FOLDS, repeats=repeats, seed=config.seed)
    candidates = available_backbones(folder, joined=config.backbone == f"{AUTO}@{ALL}")
    rows = rank_backbones(candidates, train, folds, config=config, device=device, watch=watch)
    first, second = choose(rows, folds)
    return BackboneChoice(first, second, tuple(rows), repeats)


def repeats_for(rows: int) -> int:
    """How often the folds are drawn anew: until about 2,000 rows were probed, at least twice, at most ten times."""
    return max(LEAST_REPEATS, min(MOST_REPEATS, PROBED_ROWS // rows))


def rank_backbones(
    candidates: Sequence[Candidate],
    train: LabelledSet,
    folds: Sequence[Fold],
    *,
    config: Config,
    device: torch.device,
    watch: Watch,
    probe: Probe | None = None,
) -> list[BackboneRow]:
    """Measure backbones on the same folds; one that cannot be measured has a reason and stops nothing.

    Args:
        probe: Called as `logistic_probe` is, which is the default.

    Returns:
        Measured rows from best to worst, then the others.
    """
    rows: list[BackboneRow] = []
    for candidate in candidates:
        row = measure_backbone(candidate, train, folds, config=config, device=device, watch=watch, probe=probe)
        told = f"AUROC {row.auroc:.3f} ± {row.error:.3f}" if row.measured else f"not measured: {row.reason}"
        watch.note(f"backbone {row.backbone}: {told}")
        rows.append(row)
    return ranked(rows)
