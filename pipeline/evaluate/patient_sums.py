"""Statistics that are functions of sums over patients: what each patient adds is summed once, then weighted."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from pipeline.evaluate.estimates import Quantity, Statistic
from pipeline.evaluate.predictions import Floats, Indices


def patient_sums(place: Indices, value: npt.ArrayLike, patient: Indices, *, shape: tuple[int, int]) -> sparse.csr_array:
    """What each patient adds to each of K sums, from single entries; entries of the same place and patient add up.

    Args:
        place: Which sum an entry belongs to, shape (m,), 0..K - 1.
        value: The entries, shape (m,), or one number for all.
        patient: Whose they are, shape (m,), 0..P - 1.
        shape: K and P.
    """
    entries = np.broadcast_to(np.asarray(value, np.float64), place.shape)
    return sparse.csr_array(sparse.coo_array((entries, (place, patient)), shape=shape))


def statistic_of_sums(
    quantities: tuple[Quantity, ...], sums: sparse.csr_array, patients: Indices, values: Callable[[Floats], Floats]
) -> Statistic:
    """Numbers that are functions of K sums over patients.

    Args:
        quantities: The M numbers.
        sums: What each patient adds, shape (K, P).
        patients: The patients that the numbers depend on.
        values: Sums of shape (K, r) to numbers of shape (M, r), NaN where undefined.
    """
    total = np.asarray(sums.sum(axis=1), np.float64)[:, None]

    def left_out() -> Floats:
        return values(total - sums[:, patients].toarray())

    return Statistic(quantities, patients, lambda weights: values(sums @ weights), left_out)
