"""Do two sets of scans come from one population? Tests whose false alarms stay at 5 % when patients repeat."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, softmax
from scipy.stats import ks_2samp

from pipeline.errors import ShiftError
from pipeline.evaluate.predictions import Floats
from pipeline.shift.domain import Domain, one_scan_each
from pipeline.shift.embedding import principal_components
from pipeline.shift.kernel import PERMUTATIONS, PatientKernel, patient_kernel
from pipeline.shift.number import rounded

ALPHA = 0.05
Task = Literal["multiclass", "multilabel", "one_class"]


@dataclass(frozen=True, slots=True)
class OutputGap:
    """How far one output of the network differs.

    Attributes:
        column: Which output, 0..L-1.
        statistic: Largest gap of the two empirical distribution functions, 0..1.
        p_value: Of this output alone.
    """

    column: int
    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class OutputTest:
    """Whether the outputs of the network are distributed alike.

    Attributes:
        p_value: Smallest p of the outputs times their number, at most 1.
        gaps: One for each output tested.
        patients: Patients of the reference and of the incoming side; each gives one scan.
    """

    p_value: float
    gaps: tuple[OutputGap, ...]
    patients: tuple[int, int]


@dataclass(frozen=True, slots=True)
class KernelTest:
    """Whether the features are distributed alike.

    Attributes:
        mmd2: Squared maximum mean discrepancy, unbiased.
        p_value: Of the permutation of whole patients.
        permutations: How many.
    """

    mmd2: float
    p_value: float
    permutations: int


@dataclass(frozen=True, slots=True)
class ShiftTest:
    """Whether the two sides differ at all.

    Attributes:
        p_value: Smallest p of the tests made times their number, at most 1.
        rejected: Whether that is below 0.05.
        by: The tests that alone are below 0.05 / their number: `outputs`, `features`.
        outputs: Test of the outputs, or None without logits.
        features: Test of the features.
    """

    p_value: float
    rejected: bool
    by: tuple[str, ...]
    outputs: OutputTest | None
    features: KernelTest


def output_test(reference: Domain, incoming: Domain, *, seed: int, task: Task = "multiclass") -> OutputTest:
    """BBSD: a Kolmogorov-Smirnov test for each output of the network, with Bonferroni's correction.

    One scan of each patient takes part, drawn with the seed, since the test counts rows as independent. Of two
    probabilities that add up to 1 only one is tested, as both give the same p.

    Raises:
        ShiftError: A side without logits.

    Source:
        Rabanser, Guennemann & Lipton 2019, Failing Loudly, section 3 (BBSDs).
    """
    rows = [one_scan_each(side.units, seed + offset) for offset, side in enumerate((reference, incoming))]
    first, second = (probabilities(side, task)[row] for side, row in zip((reference, incoming), rows, strict=True))
    columns = range(1 if task != "multilabel" and first.shape[1] == 2 else first.shape[1])
    gaps = []
    for column in columns:
        statistic, p = ks_p(first[:, column], second[:, column])
        gaps.append(OutputGap(column, rounded(statistic), p))
    smallest = min(gap.p_value for gap in gaps)
    return OutputTest(min(1.0, smallest * len(gaps)), tuple(gaps), (len(first), len(second)))


def ks_p(first: Floats, second: Floats) -> tuple[float, float]:
    """Kolmogorov-Smirnov: largest gap of the two empirical distribution functions, and its asymptotic p."""
    found = ks_2samp(first, second, method="asymp")
    return float(found.statistic), float(found.pvalue)


def probabilities(side: Domain, task: Task) -> Floats:
    """Softmax of the logits; sigmoid for `multilabel` and where there is only one; shape (n, L)."""
    if side.logits is None:
        raise ShiftError("the outputs cannot be compared: a side has no logits")
    logits = side.logits.astype(np.float64)
    return np.asarray(expit(logits) if task == "multilabel" or logits.shape[1] == 1 else softmax(logits, axis=1))


def joint_kernel(reference: Domain, incoming: Domain) -> PatientKernel:
    """Kernel of the scans of both sides on their joint 32 leading directions.

    A patient seen on both sides counts as two: the test is then a little too cautious, never too quick to alarm.
    """
    scores = principal_components(np.concatenate([reference.features, incoming.features]))
    units = np.concatenate([reference.units, incoming.units + reference.n_patients])
    return patient_kernel(scores, units, np.arange(units.size) < reference.n)


def feature_test(
    reference: Domain, incoming: Domain, *, seed: int, permutations: int = PERMUTATIONS
) -> tuple[KernelTest, PatientKernel]:
    """MMD on 32 principal directions with a permutation of whole patients; also the kernel it was found with.

    Raises:
        ShiftError: Fewer than two patients on a side.
    """
    if min(reference.n_patients, incoming.n_patients) < 2:
        raise ShiftError("the features cannot be compared: a side has fewer than two patients")
    kernel = joint_kernel(reference, incoming)
    p = kernel.p_value(seed=seed, permutations=permutations)
    return KernelTest(rounded(kernel.value), p, permutations), kernel


def shift_test(
    reference: Domain, incoming: Domain, *, seed: int, permutations: int = PERMUTATIONS, task: Task = "multiclass"
) -> ShiftTest:
    """Outputs and features together, with Bonferroni's correction for the two.

    Raises:
        ShiftError: Fewer than two patients on a side.
    """
    features, _ = feature_test(reference, incoming, seed=seed, permutations=permutations)
    both = reference.logits is not None and incoming.logits is not None
    outputs = output_test(reference, incoming, seed=seed, task=task) if both else None
    return combine(outputs, features)


def combine(outputs: OutputTest | None, features: KernelTest) -> ShiftTest:
    """The verdict of one or two tests."""
    found = {"features": features.p_value} | ({} if outputs is None else {"outputs": outputs.p_value})
    by = tuple(sorted(name for name, p in found.items() if p < ALPHA / len(found)))
    return ShiftTest(min(1.0, min(found.values()) * len(found)), bool(by), by, outputs, features)
