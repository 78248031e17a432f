"""Making a gate from the scans that a model was adapted to."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from models.backbones import Backbone
from models.errors import ModelError
from models.stage_mean import familiar_stage, with_stage_mean
from pipeline.detect.slices import in_batches
from pipeline.gate.gate import MOST_SCANS, Gate, Rows, direction, distances
from pipeline.gate.record import GateRecord
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.watch import Watch

NEIGHBOURS = 5
LEAST, LEAST_HELD = 20, 10
HELD_SHARE = 0.25
MOST_HELD = 1000
SHARE = 0.99
FACTOR = 2.0
CHUNK_SCANS = 32
UNGATED = "no scan is refused for looking unlike those learned from"


def fit_gate(
    backbone: Backbone,
    rows: Rows,
    store: SampleStore,
    cases: Sequence[Case],
    *,
    last: str = "",
    seed: int,
    device: torch.device,
    watch: Watch,
) -> tuple[Gate | None, tuple[str, ...]]:
    """A gate from the scans of a cohort, or a note on why there is none.

    The limit is twice the distance that 99 % of held-out scans do not exceed. A scanner or a population that is
    somewhat different lies beyond what is usual, but short of twice that: whether the model holds there is for
    `scanshift shift` and `validate` to say. The factor was chosen on chest radiographs of two hospitals, with abdominal
    and other images to refuse.

    Args:
        backbone: With the model's weights.
        rows: Passes slices (M, C, S, S) through it; gives (M, K).
        store: Where their samples are, or will be.
        cases: What the model was adapted to, of all its sites, with or without labels.
        last: Last stage that `rows` runs; empty for all.
        seed: Of what is drawn.
    """
    try:
        stage = familiar_stage(backbone, store.preparation.image_size, last)
    except ModelError as error:
        return None, (f"{UNGATED}: {error}",)
    bank, held = gate_sides(cases, seed)
    gone = store.fill([case.ref for case in (*bank, *held)])
    bank, held = ([case for case in side if case.ref.key not in gone] for side in (bank, held))
    if _patients(bank) < LEAST or _patients(held) < LEAST_HELD:
        told = f"{_patients(bank)} and {_patients(held)} patients to say what is usual"
        return None, (f"{UNGATED}: {told}, {LEAST} and {LEAST_HELD} are needed",)
    bar = watch.bar("what the scans look like", len(bank) + len(held))
    known, fresh = (
        torch.stack(
            [
                direction(means)
                for means in stage_means(backbone, stage, rows, store, [c.ref.key for c in side], device, bar)
            ]
        )
        for side in (bank, held)
    )
    far = distances(fresh, known, NEIGHBOURS).double().numpy()
    usual = float(np.quantile(far, SHARE, method="higher"))
    if not 0 < usual < float("inf"):
        return None, (f"{UNGATED}: to the network they all look alike",)
    record = GateRecord(
        stage=stage,
        neighbours=NEIGHBOURS,
        usual=usual,
        limit=FACTOR * usual,
        scans=len(known),
        held_out=len(fresh),
    )
    return Gate(record, known), ()


def stage_means(
    backbone: Backbone,
    stage: str,
    rows: Rows,
    store: SampleStore,
    contents: Sequence[str],
    device: torch.device,
    told: Callable[[int], None],
) -> list[Tensor]:
    """Stage means (N, C) of the slices of each scan in the store, in the batches that scoring uses."""

    def nothing(slices: Tensor) -> Tensor:
        return rows(slices)[:, :0]

    only = with_stage_mean(backbone, stage, nothing, rows)
    found: list[Tensor] = []
    for n in range(0, len(contents), CHUNK_SCANS):
        chunk = contents[n : n + CHUNK_SCANS]
        found += in_batches([store.load(content) for content in chunk], only, device)
        told(len(chunk))
    return found


def gate_sides(cases: Sequence[Case], seed: int) -> tuple[list[Case], list[Case]]:
    """Scans to compare with, at most 500, and held-out ones, at most 1,000; each content and each patient on one side.

    Held out at each site are the patients with `val` rows only, if these are 10 or more and 10 others are left, else a
    quarter of its patients by chance. Sites take turns, so that a small one, such as the target, is among them; of a
    site, in an order by chance, the first scan of each patient, then the second of each, and so on.
    """
    once = {case.ref.key: case for case in reversed(cases) if case.split != "test"}
    listed = list(reversed(once.values()))
    sites: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for case in listed:
        sites[case.site][case.patient].add(case.split)
    rng = np.random.default_rng([seed, 3])
    held: set[str] = set()
    for patients in sites.values():
        of_val = {name for name, splits in patients.items() if splits == {"val"}}
        if len(of_val) < LEAST_HELD or len(patients) - len(of_val) < LEAST_HELD:
            names = sorted(patients)
            of_val = {names[n] for n in rng.permutation(len(names))[: round(HELD_SHARE * len(names))]}
        held |= of_val
    order = [listed[n] for n in rng.permutation(len(listed))]
    return (
        in_turns([case for case in order if case.patient not in held])[:MOST_SCANS],
        in_turns([case for case in order if case.patient in held])[:MOST_HELD],
    )


def in_turns(cases: Sequence[Case]) -> list[Case]:
    """Sites take turns, and within a site its patients."""
    of_patient: Counter[str] = Counter()
    ranked: list[tuple[int, int, Case]] = []
    for place, case in enumerate(cases):
        ranked.append((of_patient[case.patient], place, case))
        of_patient[case.patient] += 1
    ranked.sort(key=lambda one: one[:2])
    of_site: Counter[str] = Counter()
    turns: list[tuple[int, int, Case]] = []
    for place, (_, _, case) in enumerate(ranked):
        turns.append((of_site[case.site], place, case))
        of_site[case.site] += 1
    turns.sort(key=lambda one: one[:2])
    return [case for _, _, case in turns]


def _patients(cases: Sequence[Case]) -> int:
    return len({case.patient for case in cases})
