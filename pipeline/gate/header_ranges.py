"""Making header ranges from the scans that a model was adapted to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import floor

import numpy as np
from scipy.special import ndtri

from pipeline.decide.conformal import Floats
from pipeline.gate.fit import in_turns
from pipeline.gate.header_fields import AGE, NUMBERS, OLDEST, WORDS, decade, stated
from pipeline.gate.header_record import HeaderRanges, NumberRange, WordsSeen
from pipeline.prepare.cohort import Case
from pipeline.shift.domain import FEW_PATIENTS
from pipeline.watch import Watch

LEAST = 20
LEAST_SHARE = 0.5
MOST = 5000
MOST_WORDS = 200
TAIL = 0.005
MIDDLE = 5  # years from the start of a decade
UNCOMPARED = "headers of incoming scans are not compared with those of training"

Stated = Mapping[str, float | str]


def fit_header_ranges(cases: Sequence[Case], *, seed: int, watch: Watch) -> tuple[HeaderRanges | None, tuple[str, ...]]:
    """The ranges of a cohort's headers, or a note on why there are none; of more than 5,000 scans as many drawn.

    Args:
        cases: What the model was adapted to, of all its sites, with or without labels.
        seed: Of what is drawn.
    """
    known = [case for case in cases if case.split != "test"]
    order = np.random.default_rng([seed, 4]).permutation(len(known)).tolist()
    drawn = in_turns([known[n] for n in order])[:MOST]
    bar = watch.bar("what their headers say", len(drawn))
    rows = []
    for case in drawn:
        rows.append(stated(case.ref))
        bar(1)
    found = ranges_of(rows, [case.patient for case in drawn])
    if found is None:
        return None, (f"{UNCOMPARED}: no field that at least {LEAST} patients and half of them all state",)
    return found, ()


def ranges_of(rows: Sequence[Stated], patients: Sequence[str]) -> HeaderRanges | None:
    """Ranges of what headers state; None where no field is stated by 20 patients and by half of all.

    Args:
        rows: Of `pipeline.gate.header_fields.stated`, n of them.
        patients: Whose scan each is, n names.
    """
    names = set(patients)
    needed = max(LEAST, LEAST_SHARE * len(names))
    by_field: dict[str, dict[str, list[float | str]]] = defaultdict(lambda: defaultdict(list))
    for row, patient in zip(rows, patients, strict=True):
        for field, value in row.items():
            by_field[field][patient].append(value)
    often = {field: of for field, of in by_field.items() if len(of) >= needed}
    numbers = {name: _physical(often[name]) for name in NUMBERS if name in often}
    words = {name: seen for name in WORDS if name in often and (seen := _words(often[name]))}
    age = _ages(often[AGE]) if AGE in often else None
    if not (numbers or words or age):
        return None
    return HeaderRanges(patients=len(names), age=age, numbers=numbers, words=words)


def _physical(of_patient: Mapping[str, Sequence[float | str]]) -> NumberRange:
    """A range of positive numbers, on the scale of their logarithms, rounded outwards by less than 1 %."""
    values = [np.log([float(one) for one in several]) for several in of_patient.values()]
    low, high = (float(np.exp(end)) for end in usual_ends(values))
    return NumberRange(low=float(f"{low:.4g}"), high=float(f"{high:.4g}"), patients=len(values))


def _ages(of_patient: Mapping[str, Sequence[float | str]]) -> NumberRange:
    values = [np.array([decade(str(one)) + MIDDLE for one in several], float) for several in of_patient.values()]
    low, high = (10 * floor(end / 10) for end in usual_ends(values))
    return NumberRange(low=max(0, low), high=min(OLDEST, high + 9), patients=len(values))


def usual_ends(values: Sequence[Floats]) -> tuple[float, float]:
    """Between which numbers all but 0.5 % of patients lie at either end, without the value of any one of them.

    The ends are those beyond or at which 5 patients lie, low e_1 and high e_2. Where that is more than 0.5 % of P
    patients, each end is moved outwards as on a normal distribution: m + (e - m) max(1, z(0.005) / z(5 / (P + 1))),
    where m is the median of the patients' medians and z the normal quantile.

    Args:
        values: One array a patient, at least 20 of them.
    """
    middle = float(np.median([np.median(several) for several in values]))
    low = float(np.sort([several.min() for several in values])[FEW_PATIENTS - 1])
    high = float(np.sort([several.max() for several in values])[-FEW_PATIENTS])
    wider = max(1.0, float(ndtri(TAIL) / ndtri(FEW_PATIENTS / (len(values) + 1))))
    return min(low, middle + (low - middle) * wider), max(high, middle + (high - middle) * wider)


def _words(of_patient: Mapping[str, Sequence[float | str]]) -> WordsSeen | None:
    """Words of at least 5 patients; rarer ones could tell who it is, and are hardly known to the model."""
    owners: dict[str, int] = defaultdict(int)
    for several in of_patient.values():
        for word in {str(one) for one in several}:
            owners[word] += 1
    often = sorted((word for word, count in owners.items() if count >= FEW_PATIENTS), key=lambda w: -owners[w])
    return WordsSeen(words=tuple(sorted(often[:MOST_WORDS])), patients=len(of_patient)) if often else None
