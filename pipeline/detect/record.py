"""What a bundle says of its detector."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Candidate(BaseModel):
    """A detector that could have been chosen.

    Attributes:
        name: Of the detector.
        aucp: See `pipeline.detect.aucp`; None where it was not measured.
        note: Why not, or with which interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    aucp: float | None
    note: str


class Counted(BaseModel):
    """Some normal scans.

    Attributes:
        scans, patients: How many.
        site: Whose, where these are a target's own; else empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scans: int
    patients: int
    site: str = ""


class DetectorRecord(BaseModel):
    """A fitted detector, beside its tensors.

    Attributes:
        name: From `models.detectors.DETECTORS`.
        backbone: Whose features it looks at.
        stages: Stages of the backbone that it looks at.
        reduced: Whether its backbone runs in bfloat16, in fitting and scoring alike.
        top_share: A scan's score is the mean of this share of its highest slice scores.
        placed: Whether slice scores are standardised by where the slice lies along the volume.
        chosen_by: Why this one.
        candidates: Those that could have been chosen.
        fitted_on: Normals that it was fitted on.
        left_out: Normals that stood out among them and were left out, since some may be mislabelled.
        calibrated_on: Held-out normals that its scores are ranked among.
        recalibrated: Whether these are the target's own, and not of the sites that it was fitted on.
        share_normal: Share of the target's scans that could be normal, with its 95 % limits: `value`, `low`, `high`;
            empty where it was not asked.
        notes: What a reader must know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    backbone: str
    stages: tuple[str, ...]
    reduced: bool
    top_share: float
    placed: bool
    chosen_by: str
    candidates: tuple[Candidate, ...] = ()
    fitted_on: Counted
    left_out: Counted | None = None
    calibrated_on: Counted
    recalibrated: bool = False
    share_normal: dict[str, float] = {}
    notes: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        """For reports and result.json."""
        shown = self.model_dump(mode="json", exclude={"reduced", "top_share", "placed"})
        return {key: value for key, value in shown.items() if key != "share_normal" or value}
