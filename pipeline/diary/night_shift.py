"""The shift of one night's scans against what the bundle remembers of its adaptation."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch

from models.bundle import Bundle
from pipeline.diary.header_tests import header_p_values
from pipeline.diary.spending import alpha_of, together
from pipeline.errors import LeakageError, RefusedError, SourceError
from pipeline.learn.objective import anomaly_score, probabilities
from pipeline.model_record import ModelRecord
from pipeline.scan import SeriesRef
from pipeline.shift.compare import Comparison, measured
from pipeline.shift.look import look_with_stored_reference
from pipeline.shift.measure import FEWEST
from pipeline.shift.sides import FoundSide, Member, Setting, at_most
from pipeline.shift.stored_reference import Reference, read_reference
from pipeline.shift.two_sample import ALPHA, joint_kernel
from pipeline.shift.wording import shift_sentence
from pipeline.shift.write import PAGE, write_shift

MOST_SCANS = 500
DOUBTFUL = 0.01
MOST_PERMUTATIONS = 1_000_000
TESTS = 3


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, as the diary keeps it.

    Attributes:
        shift: See `pipeline.diary.record.Row`.
        expected: Share of the reference that the bundle's policy calls abnormal; empty without a reference.
    """

    shift: dict[str, Any]
    expected: dict[str, Any]


def check_night(
    bundle: Bundle, record: ModelRecord, refs: Sequence[SeriesRef], setting: Setting, *, look: int, out: Path
) -> Checked:
    """Compare a night's readable scans, 500 drawn at most, with the bundle's reference statistics.

    `shift.html` and `shift.json` appear in `out` where anything could be compared.

    Args:
        bundle: The bundle.
        record: Its record.
        refs: Series of the night.
        setting: Seed, device, workspace, progress.
        look: Number of this test of the bundle; says how fine a p is needed.
        out: Folder of the page.

    Raises:
        BundleError: If the reference statistics make no sense.
    """
    if record.detector is not None:
        return Checked({"reason": "a detector's bundle keeps no reference statistics"}, {})
    try:
        stored = read_reference(bundle, record)
    except SourceError:
        return Checked({"reason": "the bundle keeps no reference statistics"}, {})
    expected = expectation(stored, record)
    members = {ref.key: Member(ref, ref.patient or f"scan {ref.key}") for ref in refs if ref.status == "ok"}
    if len(members) < FEWEST:
        return Checked({"reason": f"{len(members)} new scans; at least {FEWEST} are needed to compare"}, expected)
    side = FoundSide("incoming", "folder", tuple(members.values()), len(members))
    try:
        seen = look_with_stored_reference(bundle, stored, at_most(side, setting.config.seed, MOST_SCANS), setting)
    except (SourceError, RefusedError, LeakageError) as error:
        kind = {LeakageError: "all are of the bundle's training", RefusedError: "none is of the bundle's kind"}
        return Checked({"reason": f"nothing to compare: {kind.get(type(error), 'none could be read')}"}, expected)
    compared = measured(seen, setting)
    if compared.measured["test"] is not None or not (out / PAGE).exists():  # an earlier look's page has its test
        write_shift(compared, out)
    return Checked(_told(compared, seed=setting.config.seed, look=look), expected)


def expectation(stored: Reference, record: ModelRecord) -> dict[str, Any]:
    """Share of the reference scans that the policy calls abnormal, `value`, and of how many, `of`."""
    if stored.scans.logits is None or record.task == "one_class":
        return {}
    probability = probabilities(torch.from_numpy(stored.scans.logits), record.task)
    called = anomaly_score(probability).numpy() >= record.anomaly_threshold
    return {"value": round(float(called.mean()), 4), "of": int(called.size)}


def _told(compared: Comparison, *, seed: int, look: int) -> dict[str, Any]:
    """The diary's part of a comparison, with p-values as fine as the look's alpha asks for."""
    report = compared.measured
    found: dict[str, Any] = {
        "scans": report["incoming"]["used"],
        "patients": report["incoming"]["patients"],
        "kind": report["kind"]["kind"],
        "sentence": shift_sentence(report),
        "auroc": report["sizes"]["c2st_auc"]["value"],
    }
    if report["test"] is None:
        return found | {"reason": report["test_reason"]}
    tests = {"features": report["test"]["features"]["p_value"]}
    if tests["features"] <= DOUBTFUL:
        tests["features"] = fine_p(compared, seed=seed, alpha=alpha_of(look))
    if report["test"]["outputs"] is not None:
        tests["outputs"] = report["test"]["outputs"]["p_value"]
    fields = header_p_values(compared.reference, compared.incoming, seed=seed)
    if fields:
        tests["headers"] = min(fields.values())
    drifting = {name: p for name, p in sorted(fields.items(), key=lambda item: item[1]) if p < ALPHA}
    return found | {"tests": tests, "p": together(tests), "fields": drifting}


def fine_p(compared: Comparison, *, seed: int, alpha: float) -> float:
    """The p of the features from enough permutations, a million at most, that a night can fall below its alpha.

    Permutations other than those of the first, coarse p are drawn. To go on only where that was at most 0.01 keeps the
    p valid: P(p1 <= 0.01 and p2 <= a) <= P(p2 <= a) <= a, and above 0.01 P(p1 <= a) <= a.
    """
    permutations = min(MOST_PERMUTATIONS, ceil(2 * TESTS / alpha))
    kernel = joint_kernel(compared.reference, compared.incoming)
    return kernel.p_value(seed=seed + 1_000_003, permutations=permutations)
