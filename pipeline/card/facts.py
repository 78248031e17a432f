"""What a run knows that its model card tells, kept in the bundle so that the card can be written again."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from models.bundle import Bundle
from models.errors import BundleError

FILE = "docs/card.json"
MOST_BYTES = 16 * 2**20


class Count(BaseModel):
    """Some scans.

    Attributes:
        scans, patients: How many.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scans: int
    patients: int


class CardFacts(BaseModel):
    """Facts of an adaptation, without identity.

    Attributes:
        format: Version of this record.
        metrics: From `pipeline.evaluate.measure.measure`, groups by site alone, without curves.
        notes: What the run noted on its cohort.
        versions: Package to version.
        classes: Side of the split to class to its scans and patients.
        totals: Side of the split to all its labelled scans.
        sites: Site to side to its labelled scans; sites of a single patient are put together.
        unlabelled: Scans without a label that were looked at.
        left_out: Reason code to number of rows.
        acquisition: Header field to what it holds, in words, among the training and validation scans.
        hardware: What it ran on.
        precision: Of the training.
        epochs: Phase of the strategy to the epochs it took.
        backbones: Ranking of `backbone: auto`, as result.json has it.
        ladder: Rungs and shift of `strategy: auto`, as result.json has it.
        digests: SHA-256 of the cohort (contents, labels, split) and of the configuration.
        changes: Policies that were set later, each in words, the oldest first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    metrics: dict[str, Any]
    notes: tuple[str, ...] = ()
    versions: dict[str, str]
    classes: dict[str, dict[str, Count]] = {}
    totals: dict[str, Count] = {}
    sites: dict[str, dict[str, Count]] = {}
    unlabelled: Count = Count(scans=0, patients=0)
    left_out: dict[str, int] = {}
    acquisition: dict[str, str] = {}
    hardware: str = ""
    precision: str = ""
    epochs: dict[str, int] = {}
    backbones: dict[str, Any] | None = None
    ladder: dict[str, Any] | None = None
    digests: dict[str, str] = {}
    changes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The text that goes into the bundle."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def card_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics less what a card does not show: groups but those by site, and the points of reliability curves."""
    calibration = {name: value for name, value in metrics["calibration"].items() if name != "curve"}
    groups = {column: groups for column, groups in metrics["groups"].items() if column == "site"}
    return {**metrics, "calibration": calibration, "groups": groups}


def read_facts(bundle: Bundle) -> CardFacts | None:
    """The facts that a bundle keeps; None in bundles from before.

    Raises:
        BundleError: If they make no sense.
    """
    path = bundle.folder / FILE
    if not path.is_file():
        return None
    if path.stat().st_size > MOST_BYTES:
        raise BundleError(f"{bundle.folder}: {FILE} of more than {MOST_BYTES} bytes")
    try:
        return CardFacts.model_validate(json.loads(bundle.text(FILE)))
    except (ValueError, RecursionError, ValidationError) as error:
        raise BundleError(f"{bundle.folder}: {FILE} makes no sense") from error
