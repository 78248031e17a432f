"""Everything that can be said about the shift between two sets of scans, in one report."""

import numpy as np

from pipeline.errors import ShiftError
from pipeline.shift.accuracy import ExpectedAccuracy, expected_accuracy
from pipeline.shift.domain import Domain
from pipeline.shift.estimable import estimability
from pipeline.shift.header_fields import header_drift
from pipeline.shift.kernel import PERMUTATIONS, PatientKernel
from pipeline.shift.kind import KindOfShift, identify_kind
from pipeline.shift.label_shift import LabelShift, prevalence_shift
from pipeline.shift.labels_needed import labels_needed
from pipeline.shift.record import ShiftReport, Side
from pipeline.shift.sizes import Sizes, measure_sizes, no_sizes, split_patients
from pipeline.shift.two_sample import ShiftTest, Task, combine, feature_test, joint_kernel, output_test

FEWEST = 20
TESTABLE = 50
COMFORTABLE = 100
FEWEST_PATIENTS = 10
MOST = 2000


def measure_shift(
    reference: Domain, incoming: Domain, *, seed: int, permutations: int = PERMUTATIONS, task: Task = "multiclass"
) -> ShiftReport:
    """How far incoming scans lie from reference scans, what kind of shift, and what accuracy to expect.

    Of a side with more than 2,000 scans about 2,000 take part, whole patients drawn with the seed. A side with fewer
    than 20 scans or 10 patients is not compared at all; below 50 scans there are sizes and intervals, but no test.

    Args:
        reference: Scans that the network was not trained on, with logits and truth where there is a head.
        incoming: Scans to compare; labels, where there are some, only serve to say how many more are needed.
        seed: Seed of everything random.
        permutations: Of each permutation test.
        task: What the logits mean.

    Raises:
        ShiftError: Sides whose features or logits have different widths.
    """
    _check(reference, incoming)
    first, second = _at_most(reference, MOST, seed), _at_most(incoming, MOST, seed + 1)
    too_few, untested = _too_few(first, second)
    test, sizes = _compare(first, second, too_few, untested, seed=seed, permutations=permutations, task=task)
    prevalence, no_prevalence = _prevalence(first, second, too_few, seed=seed, task=task)
    kind = KindOfShift(None, untested)
    if test is not None:
        shares = None if prevalence is None else [number.value or 0.0 for number in prevalence.target]
        kind = identify_kind(first, second, before=test, shares=shares, seed=seed, permutations=permutations)
    accuracy = None if prevalence is None else _accuracy(first, second, prevalence, test, kind, sizes, seed=seed)
    classes = None if first.truth is None else first.truth.shape[1]
    return ShiftReport(
        reference=Side(reference.n, reference.n_patients, first.n),
        incoming=Side(incoming.n, incoming.n_patients, second.n),
        seed=seed,
        permutations=permutations,
        test=test,
        test_reason=untested,
        sizes=sizes,
        kind=kind,
        headers=header_drift(first, second, seed=seed, permutations=permutations, untested=untested),
        prevalence=prevalence,
        prevalence_reason=no_prevalence,
        accuracy=accuracy,
        accuracy_reason=no_prevalence,
        labels_needed=labels_needed(second, classes=classes, accuracy=accuracy, seed=seed),
        remarks=_remarks(reference, incoming, (first, second), prevalence, kind),
    )


def _check(reference: Domain, incoming: Domain) -> None:
    for name, one, other in (
        ("features", reference.features, incoming.features),
        ("logits", reference.logits, incoming.logits),
    ):
        if one is not None and other is not None and one.shape[1] != other.shape[1]:
            words = "both sides must come from the same network"
            raise ShiftError(f"{name} of the reference have {one.shape[1]} columns, incoming {other.shape[1]}; {words}")


def _at_most(side: Domain, most: int, seed: int) -> Domain:
    """The side, or about `most` scans of it, whole patients drawn at random."""
    if side.n <= most:
        return side
    return side.take(split_patients(side.units, most, np.random.default_rng(seed))[1])


def _too_few(first: Domain, second: Domain) -> tuple[str, str]:
    """Why nothing is compared, and why nothing is tested; each empty where it is."""
    for name, side in (("reference", first), ("incoming", second)):
        if side.n < FEWEST or side.n_patients < FEWEST_PATIENTS:
            words = f"{side.n} {name} scans of {side.n_patients} patients"
            reason = f"{words}; at least {FEWEST} scans of {FEWEST_PATIENTS} patients are needed to compare"
            return reason, reason
    for name, side in (("reference", first), ("incoming", second)):
        if side.n < TESTABLE:
            return "", f"{side.n} {name} scans; below {TESTABLE} only sizes and intervals are given, no test"
    return "", ""


def _compare(
    first: Domain, second: Domain, too_few: str, untested: str, *, seed: int, permutations: int, task: Task
) -> tuple[ShiftTest | None, Sizes]:
    """Test and sizes, as far as there are scans enough; both see one kernel."""
    if too_few:
        return None, no_sizes(too_few)
    test = None
    kernel: PatientKernel
    if untested:
        kernel = joint_kernel(first, second)
    else:
        features, kernel = feature_test(first, second, seed=seed, permutations=permutations)
        both = first.logits is not None and second.logits is not None
        test = combine(output_test(first, second, seed=seed, task=task) if both else None, features)
    return test, measure_sizes(first, second, kernel, seed=seed)


def _prevalence(first: Domain, second: Domain, too_few: str, *, seed: int, task: Task) -> tuple[LabelShift | None, str]:
    """The mix of classes, or why it cannot be estimated."""
    if too_few:
        return None, too_few
    if task != "multiclass":
        return None, f"needs exactly one class per scan; this is a {task} task"
    if first.logits is None or second.logits is None or first.truth is None:
        return None, "needs a trained head's outputs on both sides and labels of the reference"
    try:
        found = prevalence_shift(
            first.logits,
            first.truth,
            second.logits,
            seed=seed,
            source_patients=first.patients,
            target_patients=second.patients,
        )
    except ShiftError as error:
        return None, str(error)
    return found, ""


def _accuracy(
    first: Domain,
    second: Domain,
    prevalence: LabelShift,
    test: ShiftTest | None,
    kind: KindOfShift,
    sizes: Sizes,
    *,
    seed: int,
) -> ExpectedAccuracy | None:
    """What accuracy to expect, or that it cannot be said."""
    if first.logits is None or second.logits is None or first.truth is None:
        return None
    refusal = estimability(
        shifted=test is None or test.rejected,
        kind=kind.kind,
        separability_high=sizes.c2st_auc.high,
        output_gap=prevalence.mixture.gap,
    )
    share, prior = np.array([number.value for number in prevalence.target]), np.array(prevalence.source)
    return expected_accuracy(
        prevalence.calibration.probability(first.logits),
        first.truth,
        prevalence.calibration.probability(second.logits),
        units=(first.units, second.units),
        seed=seed,
        refusal=refusal,
        class_weights=share / prior if kind.kind == "prevalence" else None,
    )


def _remarks(
    reference: Domain, incoming: Domain, used: tuple[Domain, Domain], prevalence: LabelShift | None, kind: KindOfShift
) -> tuple[str, ...]:
    """What a reader must know before using the numbers."""
    found = []
    for name, whole, part in (("reference", reference, used[0]), ("incoming", incoming, used[1])):
        if part.n < whole.n:
            found.append(f"Of {whole.n} {name} scans {part.n} took part, whole patients drawn at random.")
    if FEWEST <= incoming.n < COMFORTABLE:
        found.append(
            f"Only {incoming.n} incoming scans: a small shift may go unseen; {COMFORTABLE} or more are better."
        )
    if {p for p in reference.patients if p} & {p for p in incoming.patients if p}:
        found.append("Some patients have scans on both sides; the tests are then more cautious than their 5 %.")
    if prevalence is not None and kind.kind in ("covariate", "both", None):
        found.append("The mix of classes is estimated as if each class looked as in the reference; here it may not.")
    return tuple(found)


__all__ = ["Domain", "ShiftReport", "Side", "measure_shift"]
