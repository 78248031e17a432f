"""What kind of shift: the mix of classes, the look of the scans, or both. It decides which repair can help."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.evaluate.predictions import Floats, Indices
from pipeline.shift.domain import Domain
from pipeline.shift.kernel import PERMUTATIONS
from pipeline.shift.two_sample import ShiftTest, shift_test

Kind = Literal["none", "prevalence", "covariate", "both"]
FEWEST = 20


@dataclass(frozen=True, slots=True)
class KindOfShift:
    """The kind of shift and how it was found.

    Attributes:
        kind: `none`; `prevalence` (another mix of classes, each of which looks as before); `covariate` (the scans
            look different); `both`; None where it cannot be told.
        reason: Why it cannot be told; else empty.
        matched_scans: Scans of the reference left after matching its mix of classes to the estimate, or None.
        matched_patients: Their patients, or None.
        after: The test against that part of the reference, or None.
    """

    kind: Kind | None
    reason: str = ""
    matched_scans: int | None = None
    matched_patients: int | None = None
    after: ShiftTest | None = None


def identify_kind(
    reference: Domain,
    incoming: Domain,
    *,
    before: ShiftTest,
    shares: Sequence[float] | None,
    seed: int,
    permutations: int = PERMUTATIONS,
) -> KindOfShift:
    """Test, match the reference's mix of classes to the incoming one's estimate, and test again.

    No test rejects: none. Otherwise, if the features still differ after matching: both where the outputs differed
    before and no longer do, covariate where not. If the features no longer differ: prevalence.

    Args:
        reference: With truth, one class per scan, and logits.
        incoming: With logits.
        before: Of `shift_test` on the two.
        shares: Estimated share of each class in the incoming scans (MLLS), or None where there is no estimate.
        seed: Seed of the matching and of the tests.
        permutations: Of the second test.

    Source:
        Automatic dataset shift identification (MICCAI 2025), which draws the matched reference with replacement;
        here without, by whole patients, since copies of one scan would pass for independent ones.
    """
    if not before.rejected:
        return KindOfShift("none")
    if shares is None or reference.truth is None or before.outputs is None:
        return KindOfShift(None, "a shift was found; to tell its kind needs logits on both sides and reference labels")
    rows = match_prevalence(reference.truth, reference.units, shares, seed=seed)
    matched = reference.take(rows)
    if matched.n < FEWEST or matched.n_patients < FEWEST // 2:
        words = f"only {matched.n} reference scans could be matched to the estimated mix of classes, at least {FEWEST}"
        return KindOfShift(None, f"{words} are needed; a class that is common here is too rare in the reference")
    after = shift_test(matched, incoming, seed=seed, permutations=permutations)
    kind: Kind = "prevalence"
    if "features" in after.by:
        kind = "both" if "outputs" in before.by and "outputs" not in after.by else "covariate"
    return KindOfShift(kind, "", matched.n, matched.n_patients, after)


def match_prevalence(truth: npt.NDArray[np.number], units: Indices, shares: Sequence[float], *, seed: int) -> Indices:
    """Rows of as many whole patients as have together the wanted mix of classes.

    Patients come in random order; one is taken if no class then has more than its quota q_c n', where n' is the
    largest number of scans of that mix that the reference holds: min over c of n_c / q_c.

    Args:
        truth: Indicators, shape (n, L), one 1 in each row.
        units: The patient of each scan as 0..P-1, shape (n,).
        shares: q, L values that sum to 1.
        seed: Seed of the order.

    Returns:
        Row numbers, ascending; perhaps none.
    """
    wanted = np.asarray(shares, dtype=np.float64)
    counts = truth.sum(axis=0)
    total = float(np.min(counts[wanted > 0] / wanted[wanted > 0]))
    quota: Floats = np.round(wanted * total)
    scans: Floats = np.zeros((int(units.max()) + 1, truth.shape[1]))
    np.add.at(scans, units, truth)
    taken, have = [], np.zeros(truth.shape[1])
    for patient in np.random.default_rng(seed).permutation(len(scans)):
        if (have + scans[patient] <= quota).all():
            have += scans[patient]
            taken.append(patient)
    return np.flatnonzero(np.isin(units, taken))
