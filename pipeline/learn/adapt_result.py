"""What an adaptation leaves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class AdaptResult:
    """What an adaptation made.

    Attributes:
        bundle: Folder of the bundle.
        digest: Its digest.
        report: The report.
        result: result.json, with the figures on the validation rows.
        verdict: What may be claimed.
        val_auroc: Macro AUROC on these rows; for strategy auto on labelled target scans, or else on held source scans;
            None where nothing abnormal is labelled.
        left_out: Rows of labels.csv whose series was refused.
        classes: Per-class figures on the validation rows.
    """

    bundle: Path
    digest: str
    report: Path
    result: Path
    verdict: str
    val_auroc: float | None
    left_out: int
    classes: list[dict[str, Any]]
