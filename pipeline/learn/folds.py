"""Cross-validation folds in which no patient stands on two sides."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.errors import CohortError


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One division of the rows.

    Attributes:
        train, test: Positions of the rows, ascending.
    """

    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def grouped_folds(
    targets: Tensor, patients: Sequence[str], *, folds: int = 5, repeats: int = 1, seed: int = 0
) -> list[Fold]:
    """Repeated k-fold divisions by patient, in which every label is spread over the folds.

    Patients are dealt one after the other, those of the rarest label first and in random order within a label, each to
    the fold that has the fewest rows of the label, then the fewest rows, then by chance. A patient with several labels
    counts under the rarest. The divisions do not depend on the order of the rows.

    Args:
        targets: Indicators (n, L).
        patients: Identity of each row's patient, n of them.
        folds: k; fewer where there are fewer patients.
        repeats: How often all is done again with another order of patients.

    Returns:
        At most k times `repeats` folds, repeat after repeat.

    Raises:
        CohortError: If there are not two labels with two patients each: then some training side would lack a class.
    """
    if len(patients) != len(targets):
        raise CohortError(f"{len(patients)} patients for {len(targets)} rows; every row needs its patient")
    rows: dict[str, list[int]] = defaultdict(list)
    for n, patient in enumerate(patients):
        rows[patient].append(n)
    holders = torch.stack([targets[at].any(dim=0) for at in rows.values()]).sum(dim=0)
    if int((holders >= 2).sum()) < 2:
        raise CohortError("cross-validation needs two labels with at least two patients each")
    strata = _strata(targets, rows)
    found: list[Fold] = []
    for repeat in range(repeats):
        side = _deal(strata, rows, min(folds, len(rows)), np.random.default_rng((seed, repeat)))
        of_row = np.array([side[patient] for patient in patients])
        found += [Fold(np.flatnonzero(of_row != k), np.flatnonzero(of_row == k)) for k in range(min(folds, len(rows)))]
    if any(int(targets[fold.train].any(dim=0).sum()) < 2 for fold in found):
        raise CohortError("cross-validation needs more patients of each label: a fold would leave one to learn from")
    return found


def _strata(targets: Tensor, rows: dict[str, list[int]]) -> dict[str, int]:
    """Each patient's rarest label by number of patients; -1 for none."""
    has = {patient: targets[at].any(dim=0) for patient, at in rows.items()}
    frequency = torch.stack(list(has.values())).sum(dim=0)
    return {
        patient: min(flags.nonzero().flatten().tolist(), key=lambda c: (int(frequency[c]), c), default=-1)
        for patient, flags in has.items()
    }


def _deal(
    strata: dict[str, int], rows: dict[str, list[int]], folds: int, generator: np.random.Generator
) -> dict[str, int]:
    """Patient to fold."""
    size = Counter(strata.values())
    names = sorted(rows)
    order = [names[n] for n in generator.permutation(len(names))]
    order.sort(key=lambda patient: (size[strata[patient]], strata[patient]))  # stable: by chance within a stratum
    total = np.zeros(folds)
    of_label = {stratum: np.zeros(folds) for stratum in size}
    side: dict[str, int] = {}
    for patient in order:
        label = of_label[strata[patient]]
        chance = generator.permutation(folds)
        k = int(np.lexsort((chance, total, label))[0])
        side[patient] = k
        label[k] += len(rows[patient])
        total[k] += len(rows[patient])
    return side
