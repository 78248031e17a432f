"""Splitting by patient: seeded, stratified, and never one patient on two sides."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import LeakageError

Split = Literal["train", "val", "test"]
NO_VAL = 0.15
ALL_EMPTY: Mapping[Split, float] = {"train": 0.70, "val": 0.15, "test": 0.15}


@dataclass(frozen=True, slots=True)
class Member:
    """What the split needs to know of a row.

    Attributes:
        patient: Identity of the patient, or of the row where it has none.
        stratum: What is kept in proportion: site and label.
        stated: The split that labels.csv states, or empty.
    """

    patient: str
    stratum: str
    stated: str


def assign_splits(members: Sequence[Member], *, seed: int) -> tuple[list[Split], list[str]]:
    """Give every row its split.

    Stated splits stand. If no row is stated `val`, 15 % of the patients stated `train` become `val`. Rows with an
    empty cell are split 70/15/15 by patient; where the patient has a stated split elsewhere, they follow it.

    Returns:
        The splits, and notes on what was done beyond what labels.csv states.

    Raises:
        LeakageError: If a patient is stated on two sides; no patient is named.
    """
    stated: dict[str, set[str]] = defaultdict(set)
    for member in members:
        if member.stated:
            stated[member.patient].add(member.stated)
    torn = sum(len(sides) > 1 for sides in stated.values())
    if torn:
        raise LeakageError(
            f"{torn} patient{'s stand' if torn > 1 else ' stands'} on two sides of the split in labels.csv; "
            "give all rows of a patient one split"
        )
    sides: dict[str, str] = {patient: next(iter(found)) for patient, found in stated.items()}
    notes: list[str] = []
    free = [member for member in members if member.patient not in sides]
    if free:
        drawn = _draw(free, ALL_EMPTY, seed)
        sides.update(drawn)
        notes.append(
            f"{len(drawn)} patients without a split were divided 70/15/15 into train, val and test (seed {seed})"
        )
    if "val" not in sides.values() and "train" in sides.values():
        train = [member for member in members if sides[member.patient] == "train"]
        drawn = _draw(train, {"train": 1 - NO_VAL, "val": NO_VAL}, seed)
        sides.update(drawn)
        moved = sum(side == "val" for side in drawn.values())
        notes.append(f"no row is val: {moved} of {len(drawn)} train patients became val (15 %, seed {seed})")
    order: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}
    return [order[sides[member.patient]] for member in members], notes


def _draw(members: Sequence[Member], shares: Mapping[Split, float], seed: int) -> dict[str, Split]:
    """Divide patients into sides, in proportion within each stratum; independent of the order of rows.

    A patient with several strata belongs to the rarest. Every stratum of at least as many patients as there are
    sides is on every side.
    """
    strata: dict[str, set[str]] = defaultdict(set)
    for member in members:
        strata[member.patient].add(member.stratum)
    size = Counter(stratum for found in strata.values() for stratum in found)
    groups: dict[str, list[str]] = defaultdict(list)
    for patient, found in strata.items():
        groups[min(found, key=lambda stratum: (size[stratum], stratum))].append(patient)
    sides: dict[str, Split] = {}
    owed: dict[Split, float] = dict.fromkeys(shares, 0.0)
    for stratum in sorted(groups):
        patients = sorted(groups[stratum], key=lambda patient: _chance(seed, patient))
        counts = _counts(len(patients), shares, owed)
        at = 0
        for side, count in counts.items():
            sides.update(dict.fromkeys(patients[at : at + count], side))
            at += count
    return sides


def _counts(total: int, shares: Mapping[Split, float], owed: dict[Split, float]) -> dict[Split, int]:
    """Whole numbers nearest to the shares, at least one a side where there are enough; the first takes the rest.

    What rounding took from a side or gave it is kept in `owed` for the next stratum, so that many small strata
    have the shares together.
    """
    first, *others = shares
    counts: dict[Split, int] = {}
    left = total if total == 1 else total - 1
    for side in others:
        owed[side] += total * shares[side]
        counts[side] = min(max(round(owed[side]), 1 if total >= len(shares) else 0), left)
        owed[side] -= counts[side]
        left -= counts[side]
    return {first: total - sum(counts.values()), **counts}


def _chance(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed}|{patient}".encode()).hexdigest()
