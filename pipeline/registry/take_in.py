"""How bundles and what was measured of them come into the registry."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.bundle import Bundle, open_bundle
from pipeline.errors import RegistryError
from pipeline.model_record import ModelRecord, read_record
from pipeline.prepare.cohort import load_rows
from pipeline.registry.place import lies_there, opened
from pipeline.registry.records import VALIDATED, Measurement, Model, SiteFigure
from pipeline.registry.store import Registry, now
from pipeline.workspace import Workspace

ADAPTED = "adapt"


def add_bundle(workspace: Workspace, folder: Path, *, who: str, note: str = "") -> tuple[Model, bool]:
    """Take in a bundle, or note that it lies in this folder now.

    Returns:
        What the registry says of it, and whether it was new.

    Raises:
        BundleError: If it is incomplete or altered.
        CatalogError: If the database cannot be reached.
    """
    bundle = open_bundle(folder)
    with opened(workspace) as registry:
        new = registry.add(as_model(bundle, read_record(bundle)), who=who, note=note)
        if not new:
            registry.move(bundle.digest, bundle.folder.absolute(), who=who)
        return registry.find(bundle.digest), new


def note_adapted(workspace: Workspace, folder: Path, result: Path) -> None:
    """Take in what `adapt` made, with the figures of the rows that it chose by.

    Args:
        workspace: Whose registry.
        folder: The bundle.
        result: result.json of the run.

    Raises:
        BundleError, CatalogError: As `add_bundle`.
    """
    told = json.loads(result.read_text(encoding="utf-8"))
    with opened(workspace) as registry:
        bundle = _known(registry, folder, told["bundle"], who=ADAPTED)
        registry.measure(bundle.digest, headline(told["validation"], ADAPTED, told["measured_on"]))


def note_made(workspace: Workspace, folder: Path, *, who: str) -> None:
    """Take in a bundle that a command made from another one, without measuring it.

    Raises:
        BundleError, CatalogError: As `add_bundle`.
    """
    bundle = open_bundle(folder)
    with opened(workspace) as registry:
        _known(registry, folder, bundle.digest, who=who)


def note_validated(workspace: Workspace, folder: Path, labels: Path, metrics: Mapping[str, Any]) -> None:
    """Add a line with what `validate` measured; a bundle that is new becomes a candidate.

    Args:
        workspace: Whose registry.
        folder: The bundle.
        labels: The labels.csv.
        metrics: As metrics.json holds them.

    Raises:
        RegistryError: If another bundle lies in the folder now.
        BundleError, CatalogError: As `add_bundle`.
    """
    with opened(workspace) as registry:
        bundle = _known(registry, folder, metrics["bundle"], who=VALIDATED)
        tested = any(row.split == "test" for row in load_rows(labels, read_record(bundle).config))
        measured_on = "test rows" if tested else "all rows, none of them seen in training"
        registry.measure(bundle.digest, headline(metrics, VALIDATED, measured_on))


def as_model(bundle: Bundle, record: ModelRecord) -> Model:
    """What the registry keeps of a bundle."""
    return Model(
        digest=bundle.digest,
        parent=record.parent,
        task=record.task,
        backbone=record.backbone,
        classes=record.classes,
        created=record.created,
        folder=bundle.folder.absolute(),
    )


def headline(metrics: Mapping[str, Any], verb: str, measured_on: str) -> Measurement:
    """The line of metrics.json that the registry keeps: macro AUROC with its interval, of all and of each site."""
    sites = metrics.get("groups", {}).get("site", {})
    return Measurement(
        at=now(),
        verb=verb,
        measured_on=measured_on,
        scans=metrics["n"],
        patients=metrics["n_patients"],
        **_auroc(metrics),
        sites=tuple(SiteFigure(site, group["n"], **_auroc(group)) for site, group in sorted(sites.items())),
    )


def _auroc(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    figure = metrics["macro"]["auroc"]
    return {"auroc": figure["value"], "low": figure["low"], "high": figure["high"]}


def _known(registry: Registry, folder: Path, digest: str, *, who: str) -> Bundle:
    """The bundle, in the registry. One whose folder still holds it keeps that folder: a copy may go away."""
    bundle = open_bundle(folder)
    if bundle.digest != digest:
        raise RegistryError(f"{folder}: another bundle lies there now ({bundle.digest[:12]})")
    registry.add(as_model(bundle, read_record(bundle)), who=who)
    if not lies_there(registry.find(digest)):
        registry.move(digest, bundle.folder.absolute(), who=who)
    return bundle
