"""What an adaptation would do, found out before it does anything long."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from models.classifier import Pooling, SliceBagClassifier
from models.pooling import AttentionPooling
from models.registry import lookup
from models.strategies import STRATEGIES
from models.strategies.phase import Phase
from pipeline.config import Config
from pipeline.detect.checks import check_normals, check_one_class
from pipeline.errors import CohortError, ConfigError
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.align_guard import LEAST_TARGETS, check_alignment
from pipeline.learn.device import choose_device
from pipeline.learn.ladder.climb import unusable
from pipeline.learn.ladder.problem import labelled_side
from pipeline.learn.network import AUTO, build_network, stand_in
from pipeline.prepare.cohort import Cohort, build_cohort, check_trainable, load_rows
from pipeline.prepare.labels import LabelRow
from pipeline.prepare.samples import Preparation
from pipeline.prepare.split import Split
from pipeline.scan import SeriesRef, modality_group
from pipeline.watch import Watch
from pipeline.workspace import Workspace, require_space


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

    def with_notes(self, *notes: str) -> "Plan":
        """The plan with more for the report to tell."""
        return replace(self, cohort=replace(self.cohort, notes=(*self.cohort.notes, *notes)))

    @property
    def pooling(self) -> Pooling:
        """How slices become a bag."""
        return "attention" if isinstance(self.classifier.pooling, AttentionPooling) else "mean"

    def counts(self) -> dict[str, dict[str, int]]:
        """Side to class to number of scans, with the number of patients beside."""
        table: dict[str, dict[str, int]] = {}
        for split in get_args(Split):
            cases = self.cohort.side(split)
            labels = Counter(label for case in cases for label in case.labels)
            table[split] = {name: labels[name] for name in self.cohort.classes}
            if self.config.task == "one_class":
                normal = self.cohort.classes[0]
                table[split] = {normal: labels[normal], "anomaly": len(cases) - labels[normal]}
            table[split]["patients"] = len({case.patient for case in cases})
        return table

    def digest(self) -> str:
        """A hash of all that decides the training, for its checkpoint."""
        text = hashlib.sha256(self.config.model_dump_json(exclude={"card"}).encode())
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
        check_one_class(config)
    elif config.strategy != AUTO:
        lookup("strategy", STRATEGIES, config.strategy)
    device = choose_device(config.device)
    rows = load_rows(labels, config)
    cohort = build_cohort(labels, rows, find_series(rows, workspace, watch), config)
    check_usable(cohort, config)
    config = config.model_copy(update={"classes": cohort.classes})
    preparation = preparation_of(cohort, config)
    require_space(workspace.root, _disk_bytes(cohort, preparation))
    name = config.backbone
    if name == AUTO:  # which one is measured on prepared scans; the first that has weights stands in until then
        name = stand_in()
    classes = 2 if config.task == "one_class" else len(cohort.classes)
    plan = Plan(config, cohort, preparation, *build_network(name, classes, preparation, config), device)
    for warning in check_target(plan):
        plan = plan.with_notes(warning)
    if plan.weights["origin"] == "random":
        plan = plan.with_notes(
            f"weights are random, as {'the strategy' if config.weights != 'none' else 'weights=none'} asks"
        )
    return plan


def check_usable(cohort: Cohort, config: Config) -> None:
    """Refuse a cohort that the strategy cannot work with.

    Raises:
        CohortError: If nothing can be learned from it, the target has too few scans, or a ladder nothing to judge by.
    """
    if config.target_sites:
        found = len(cohort.of_sites(config.target_sites))
        if found < LEAST_TARGETS:
            raise CohortError(
                f"{found} scans of target_sites that are not test rows; at least {LEAST_TARGETS} are needed to say "
                "anything of a target; unlabelled ones will do"
            )
    if config.task == "one_class":
        check_normals(cohort, config.target_sites)
    elif config.strategy != AUTO:
        check_trainable(cohort, config)
    elif config.target_sites:
        _check_source(cohort, config)
    else:
        _check_alone(cohort, config)


def _check_source(cohort: Cohort, config: Config) -> None:
    """For a ladder the source must be enough without the target."""
    source = replace(cohort, cases=tuple(c for c in cohort.cases if c.site not in config.target_sites))
    try:
        check_trainable(source, config)
    except CohortError as error:
        raise CohortError(
            f"strategy auto learns from rows outside target_sites, and there: {error}; to learn from one hospital "
            "alone leave target_sites empty"
        ) from error


def _check_alone(cohort: Cohort, config: Config) -> None:
    """Where no target is named, a ladder judges by the labels of all rows together."""
    check_trainable(cohort, config)
    known = [case for case in cohort.cases if case.labels and case.split != "test"]
    wanting = unusable(labelled_side(known, cohort.classes))
    if wanting:
        raise CohortError(f"strategy auto without target_sites: {wanting}; name a strategy, or give more labels")


def check_target(plan: "Plan") -> tuple[str, ...]:
    """Check alignment and test-time adaptation against the target's scans; warnings for the report.

    Raises:
        ConfigError: If one is asked for without target_sites.
        PipelineError, ModelError: If the backbone or the target do not allow it.
    """
    config = plan.config
    if config.align == "none" and config.test_time == "none":
        return ()
    if config.strategy == AUTO and config.test_time != "none":
        raise ConfigError(f"test_time={config.test_time}: strategy auto has no rung for it; name a strategy")
    if not config.target_sites:
        asked = f"align={config.align}" if config.align != "none" else f"test_time={config.test_time}"
        raise ConfigError(f"{asked} needs target_sites: the sites whose unlabelled scans it looks at")
    if config.align == "none":
        return ()
    targets = len(plan.cohort.of_sites(config.target_sites))
    return check_alignment(config.align, plan.classifier, targets=targets, task=config.task)


def with_backbone(plan: "Plan", name: str) -> "Plan":
    """The plan with another backbone, which was measured."""
    config = plan.config.model_copy(update={"backbone": name})
    network = build_network(name, len(plan.cohort.classes), plan.preparation, config)
    return replace(plan, config=config, classifier=network[0], phases=network[1], weights=network[2])


def describe(plan: Plan) -> dict[str, Any]:
    """What `--dry-run` tells of a plan, without identity."""
    one_class = plan.config.task == "one_class"
    chosen = f"{plan.config.backbone}, {plan.classifier.backbone.num_features} features"
    if plan.config.backbone == AUTO:
        chosen = "auto: those that have weights here are measured, the better of the best two is kept"
    return {
        "classes": ", ".join(plan.cohort.classes),
        "scans": plan.counts(),
        "left out": len(plan.cohort.left_out),
        "kind": f"{plan.preparation.kind}, {plan.preparation.modality}",
        "backbone": chosen,
        "weights": "of each backbone" if plan.config.backbone == AUTO else plan.weights["origin"],
        **({"detector": plan.config.detector} if one_class else {"strategy": _strategy(plan)}),
        "device": str(plan.device),
        "notes": list(plan.cohort.notes),
    }


def _strategy(plan: Plan) -> str:
    return f"{plan.config.strategy}: {', '.join(phase.name for phase in plan.phases) or 'a ladder of rungs'}"


def find_series(rows: Sequence[LabelRow], workspace: Workspace, watch: Watch) -> list[SeriesRef]:
    """Ingest what the rows name: their paths, and from the catalogue the series that they name by UID."""
    paths = [Path(row.path) for row in rows if row.path]
    uids = [row.series_uid for row in rows if row.series_uid]
    with contextlib.closing(Catalog(workspace.catalog_url)) as catalog:
        refs = scan_sources(paths, catalog=catalog, progress=watch.count("reading headers", len(paths)))
        return refs + (catalog.find(uids) if uids else [])


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
        crop=config.crop,
    )


def _disk_bytes(cohort: Cohort, preparation: Preparation) -> int:
    per_scan = preparation.slices * preparation.image_size**2 * 2 * 1.1
    return int(len(cohort.cases) * per_scan)
