"""Collecting what a run knows for its model card."""

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch

from pipeline.card.facts import CardFacts, Count, card_metrics
from pipeline.config import dump_config
from pipeline.evaluate.plots import EpochRow
from pipeline.learn.device import uses_bfloat16
from pipeline.learn.plan import Plan
from pipeline.learn.prepared import used_cases
from pipeline.prepare.cohort import Case
from pipeline.prepare.split import Split
from pipeline.provenance import versions
from pipeline.shift.acquisition import columns, header_values, without_rare
from pipeline.shift.domain import FEW_PATIENTS, HeaderValue

MOST_HEADERS = 500
WORDS_SHOWN = 6


def card_facts(
    plan: Plan,
    metrics: Mapping[str, Any],
    *,
    history: Sequence[EpochRow] = (),
    ladder: Mapping[str, Any] | None = None,
    backbones: Mapping[str, Any] | None = None,
) -> CardFacts:
    """What the run of a plan knows.

    Args:
        plan: As it was carried out.
        metrics: From `measure`, on the scans that chose the thresholds.
        history: Epochs of the training.
        ladder, backbones: As result.json has them.
    """
    sides = {split: plan.cohort.side(split) for split in get_args(Split)}
    named = _classes(plan)
    used = used_cases(plan)
    return CardFacts(
        metrics=card_metrics(metrics),
        notes=plan.cohort.notes,
        versions=versions(),
        classes={split: {name: count(_of(cases, name, named)) for name in named} for split, cases in sides.items()},
        totals={split: count(cases) for split, cases in sides.items()},
        sites=site_counts(sides),
        unlabelled=count([case for case in used if not case.labels]),
        left_out=dict(Counter(reason.partition(":")[0] for _, reason in plan.cohort.left_out)),
        acquisition=acquisition(used, seed=plan.config.seed),
        hardware=_hardware(plan.device),
        precision="bfloat16" if uses_bfloat16(plan.device, plan.config.precision) else "float32",
        epochs=dict(Counter(row.phase for row in history)),
        ladder=None if ladder is None else _ladder(ladder),
        backbones=None if backbones is None else dict(backbones),
        digests={"cohort": cohort_digest(plan.cohort.cases), "configuration": _sha256(dump_config(plan.config))},
    )


def count(cases: Sequence[Case]) -> Count:
    """Scans and patients of some cases."""
    return Count(scans=len(cases), patients=len({case.patient for case in cases}))


def site_counts(sides: Mapping[str, Sequence[Case]]) -> dict[str, dict[str, Count]]:
    """Site to side to its scans; empty where no site is named. A site of one patient alone may be a name."""
    everyone = [case for cases in sides.values() for case in cases]
    if not any(case.site for case in everyone):
        return {}
    patients: dict[str, set[str]] = {}
    for case in everyone:
        patients.setdefault(case.site, set()).add(case.patient)
    shown = {site: (site or "(empty)") if len(found) > 1 else "(other)" for site, found in patients.items()}
    return {
        name: {side: count([c for c in cases if shown[c.site] == name]) for side, cases in sides.items()}
        for name in sorted(set(shown.values()))
    }


def acquisition(cases: Sequence[Case], *, seed: int) -> dict[str, str]:
    """What headers say of how scans were made, in words, of at most 500 drawn scans.

    Numbers: median, and 5 % to 95 % quantile, of at least 5 patients. Texts: shares of scans, those of fewer than 5
    patients as `(other)`.
    """
    drawn = [cases[n] for n in np.random.default_rng(seed).permutation(len(cases))[:MOST_HEADERS]]
    patients = [case.patient for case in drawn]
    found = columns([header_values(case.ref) for case in drawn])
    told = {name: _words(values, patients) for name, values in found.items()}
    return {name: words for name, words in told.items() if words}


def _words(values: Sequence[HeaderValue], patients: Sequence[str]) -> str:
    shown = [value for value in without_rare(values, patients) if value is not None]
    holders = {patient for value, patient in zip(values, patients, strict=True) if value is not None}
    if len(holders) < FEW_PATIENTS:
        return ""
    missing = f"; absent in {len(values) - len(shown)} of {len(values)}" if len(shown) < len(values) else ""
    numbers = [float(value) for value in shown if not isinstance(value, str)]
    if len(numbers) == len(shown):
        low, middle, high = np.quantile(numbers, [0.05, 0.5, 0.95])
        return f"median {middle:.4g}, 5 % to 95 %: {low:.4g} to {high:.4g}{missing}"
    counts = Counter(str(value) for value in shown).most_common()
    parts = [f"{text} {100 * number / len(shown):.0f} %" for text, number in counts[:WORDS_SHOWN]]
    more = f", and {len(counts) - WORDS_SHOWN} more" if len(counts) > WORDS_SHOWN else ""
    return f"{', '.join(parts)}{more}{missing}"


def cohort_digest(cases: Sequence[Case]) -> str:
    """SHA-256 over contents, labels and split of the cases, in an order that rows of labels.csv do not change."""
    return _sha256("".join(sorted(f"{case.ref.key}|{'|'.join(case.labels)}|{case.split}\n" for case in cases)))


def _ladder(told: Mapping[str, Any]) -> dict[str, Any]:
    """The rungs, and of the shift what its test said."""
    shift = told["shift"]
    names = ("test", "test_reason")
    return {
        "kept": told["kept"],
        "rungs": told["rungs"],
        "shift": None if shift is None else {name: shift[name] for name in names} | {"kind": shift["kind"]["kind"]},
    }


def _classes(plan: Plan) -> tuple[str, ...]:
    return (plan.cohort.classes[0], "anomaly") if plan.config.task == "one_class" else plan.cohort.classes


def _of(cases: Sequence[Case], name: str, named: Sequence[str]) -> list[Case]:
    """Cases of a class; for the detector's anomaly all that have another label than the normal one."""
    if name == "anomaly" and named[1:] == ("anomaly",):
        return [case for case in cases if case.labels != (named[0],)]
    return [case for case in cases if name in case.labels]


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (CUDA {torch.version.cuda})"
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()} processors"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
