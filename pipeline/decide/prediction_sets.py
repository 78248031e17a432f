"""Prediction sets: the classes that a scan may have at a level, each calibrated on held-out scans of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from pipeline.decide.conformal import Flags, Floats, patient_limit, patients_needed

LONGEST = 3


class ClassLimit(BaseModel):
    """How improbable a class may be and still be in the set.

    Attributes:
        limit: Largest score 1 - p with which it is; None where too few patients had it: then it is in every set.
        scans, patients: What the limit was taken from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    limit: float | None = Field(default=None, ge=0, le=1)
    scans: int = Field(ge=0)
    patients: int = Field(ge=0)


class SetRecord(BaseModel):
    """What a bundle says of its prediction sets.

    Attributes:
        level: A class that a scan has is missing from its set with this probability at most, 0..0.5.
        present: Class to its limit.
        absent: Multilabel: class to the limit of its absence, whose score is p; else empty.

    Source:
        Sadinle, Lei & Wasserman 2019, Least Ambiguous Set-Valued Classifiers with Bounded Error Levels (score
        1 - p_y, a threshold for each class); Vovk 2012, Conditional Validity of Inductive Conformal Predictors
        (label-conditional); several scans of a patient: Dunn, Wasserman & Ramdas 2022.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: float = Field(gt=0, lt=0.5)
    present: dict[str, ClassLimit]
    absent: dict[str, ClassLimit] = {}

    @property
    def percent(self) -> str:
        """1 - level, such as `90 %`."""
        return f"{100 * (1 - self.level):.4g} %"

    @property
    def lacking(self) -> tuple[str, ...]:
        """What has no limit, in words such as `pneumonia (4 patients)`."""
        sides = (("", self.present), ("not ", self.absent))
        return tuple(
            f"{word}{name} ({one.patients} patients)"
            for word, side in sides
            for name, one in side.items()
            if one.limit is None
        )

    @property
    def decides(self) -> bool:
        """Whether both normal and abnormal scans can be told by their sets; if not, sets refer no scan."""
        names = list(self.present)
        if self.absent:
            return self.present[names[0]].limit is not None and self.absent[names[0]].limit is not None
        return self.present[names[0]].limit is not None and any(self.present[n].limit is not None for n in names[1:])

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words, a line each."""
        told = [
            f"a scan whose prediction set at {self.percent} leaves open whether it is normal gets the decision `refer`"
            if self.decides
            else f"no scan is referred for its prediction set: too few patients for a level of {self.percent}"
        ]
        if self.lacking:
            told.append(
                f"{patients_needed(self.level)} validation patients of a class are needed for prediction sets at "
                f"{self.percent}; never excluded from a set, so without a say in `refer`: {', '.join(self.lacking)}"
            )
        return tuple(told)


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """The prediction sets of n scans over L classes.

    Attributes:
        present: Which classes each scan may have, shape (n, L).
        absent: Multilabel: which it may lack, shape (n, L); else None.
    """

    present: Flags
    absent: Flags | None = None

    @property
    def size(self) -> npt.NDArray[np.int64]:
        """Labels in each set, shape (n,); multilabel: summed over the classes, each present, absent, both or none."""
        labels = self.present if self.absent is None else np.hstack([self.present, self.absent])
        return np.asarray(labels.sum(axis=1))


def calibrate_sets(
    probability: Floats, truth: npt.NDArray[np.int8], patients: npt.ArrayLike, *, classes: Sequence[str], level: float
) -> SetRecord:
    """Limits of every class on held-out scans, for a task with one label a scan; see `calibrate_findings` for several.

    For class c the limit is that of the scores 1 - p_c of the scans that have it, each patient counted once
    (`patient_limit`): q_c with #{i of c: s_i <= q_c} >= ceil((n_c + 1) (1 - level)) where each patient has one scan.

    Args:
        probability: Calibrated, shape (n, L).
        truth: 0/1 indicator, shape (n, L).
        patients: Whose scan each is, shape (n,).
        classes: L names, the normal one first.
        level: 0 < level < 0.5.
    """
    return SetRecord(level=level, present=_limits(1 - probability, truth == 1, patients, classes, level))


def calibrate_findings(
    probability: Floats, truth: npt.NDArray[np.int8], patients: npt.ArrayLike, *, classes: Sequence[str], level: float
) -> SetRecord:
    """The same for a multi-label task: each class is a question of its own, with the answers present and absent.

    Scores are 1 - p_c where it is present and p_c where it is absent; both answers have a limit of their own.
    """
    present = _limits(1 - probability, truth == 1, patients, classes, level)
    return SetRecord(level=level, present=present, absent=_limits(probability, truth == 0, patients, classes, level))


def _limits(
    scores: Floats, has: Flags, patients: npt.ArrayLike, classes: Sequence[str], level: float
) -> dict[str, ClassLimit]:
    numbers = np.unique(np.asarray(patients), return_inverse=True)[1]
    found = {}
    for c, name in enumerate(classes):
        rows = has[:, c]
        limit = patient_limit(scores[rows, c], numbers[rows], level)
        found[name] = ClassLimit(limit=limit, scans=int(rows.sum()), patients=int(np.unique(numbers[rows]).size))
    return found


def prediction_sets(record: SetRecord, probability: Floats) -> Sets:
    """The sets of scans with calibrated probabilities of shape (n, L), columns in the record's order."""
    absent = _within(record.absent, probability) if record.absent else None
    return Sets(_within(record.present, 1 - probability), absent)


def _within(limits: Mapping[str, ClassLimit], scores: Floats) -> Flags:
    return np.asarray(scores <= np.array([np.inf if one.limit is None else one.limit for one in limits.values()]))


def close_to_limit(record: SetRecord, probability: Floats, tolerance: float) -> bool:
    """Whether probabilities (L,) of one scan that are off by up to `tolerance` could give it another set."""
    if not record.decides:
        return False
    sides = [(record.present, 1 - probability), (record.absent, probability)]
    limits = np.array([np.inf if one.limit is None else one.limit for side, _ in sides for one in side.values()])
    scores = np.concatenate([score for side, score in sides if side])
    return bool((np.abs(scores - limits) <= tolerance).any())


def undetermined(record: SetRecord, probability: Floats) -> tuple[str, ...]:
    """Why the set of each scan leaves open whether it is normal, in words; empty where it does not.

    multiclass: the set holds the normal class and another, or none. multilabel: normal is in it both as present and
    as absent, or neither way. A class without a limit is in every set and so has no say, but that a scan for which it
    is the most probable one has no empty set.

    Args:
        record: Of the bundle.
        probability: Calibrated, shape (n, L).
    """
    if not record.decides:
        return ("",) * len(probability)
    sets, names = prediction_sets(record, probability), list(record.present)
    if sets.absent is not None:
        both, neither = sets.present[:, 0] & sets.absent[:, 0], ~sets.present[:, 0] & ~sets.absent[:, 0]
        words, none_is = [f"{names[0]} and any finding"] * len(probability), f"neither {names[0]} nor any finding is"
    else:
        none_is = "no class is"
        known = np.array([one.limit is not None for one in record.present.values()])
        told = sets.present & known
        both, neither = told[:, 0] & told[:, 1:].any(axis=1), ~told.any(axis=1) & known[probability.argmax(axis=1)]
        words = [_held([name for name, held in zip(names, row, strict=True) if held]) for row in told]
    at = f"the prediction set at {record.percent}"
    empty = f"{at} is empty: {none_is} as probable as on {record.percent} of its own validation scans"
    each = zip(both.tolist(), neither.tolist(), words, strict=True)
    return tuple(f"{at} holds {word}" if one else empty if none else "" for one, none, word in each)


def _held(names: Sequence[str]) -> str:
    """Names in words, at most four."""
    if len(names) > LONGEST + 1:
        names = [*names[:LONGEST], f"{len(names) - LONGEST} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
