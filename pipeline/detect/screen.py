"""Before a detector is fitted: normal scans that stand out among the others are left out; some may be mislabelled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.backbones import Backbone
from models.detectors.knn import NearestNeighbours
from models.detectors.outlyingness import outlyingness
from models.detectors.places import PlaceProfile
from models.detectors.pooling import top_k_mean
from models.errors import DetectorError
from pipeline.config import Config
from pipeline.decide.conformal import Floats
from pipeline.detect.fit import TOP_SHARE, stages_of
from pipeline.detect.slices import StoredNormals, places
from pipeline.learn.device import uses_bfloat16
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.watch import Watch

LEAST = 20
PART = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """Normal scans to learn from, and those left out.

    Attributes:
        kept: In their order.
        doubtful: Those that stand out most first.
        notes: Why none was left out, where that was asked for.
    """

    kept: tuple[Case, ...]
    doubtful: tuple[Case, ...] = ()
    notes: tuple[str, ...] = ()


def screen_normals(
    backbone: Backbone,
    store: SampleStore,
    normals: Sequence[Case],
    *,
    config: Config,
    device: torch.device,
    watch: Watch,
) -> Screened:
    """Leave out the share `config.contamination` of each site's normal scans that stand out most.

    How far a slice stands out is its mean distance to the ten nearest slices of other patients, on pooled features of
    length 1 of the stages that a detector of pooled features would look at; for a volume that is standardised by the
    slices' place along the body and pooled as a detector's scores are. Sites are ranked each by itself, so that a small
    one is not left out for being itself. Each scan is read once; of more than 20,000 slices parts of that size at most,
    drawn by patient, are compared within themselves, so that memory does not grow.

    The scans left out are not all mislabelled: most are merely unusual, in a set without any mistake all of them are.
    The held-out normals that a threshold is chosen on are not screened, or its promise would not hold.

    Args:
        backbone: With its weights.
        store: Where their samples are.
        normals: What a detector is to be fitted on.

    Raises:
        DetectorError: If features are not finite, or those of volumes all alike.
    """
    patients = len({case.patient for case in normals})
    if not config.contamination:
        return Screened(tuple(normals))
    if patients < LEAST:
        told = f"{patients} normal patients: too few to say which scans stand out (at least {LEAST}), none was left out"
        return Screened(tuple(normals), notes=(told,))
    pooled = NearestNeighbours(
        backbone,
        image_size=store.preparation.image_size,
        stages=stages_of(backbone, config),
        reduced=uses_bfloat16(device, config.precision),
    ).to(device)
    bar = watch.bar("comparing normal scans with each other", len(normals))
    score = np.empty(len(normals), np.float64)
    for part in _parts(normals, store.preparation.slices, config.seed):
        contents = tuple(normals[n].ref.key for n in part)
        rows, scan = [], []
        for batch in StoredNormals(store, contents, config.seed, device, bar)():
            rows.append(pooled.pooled(batch.images).cpu())
            scan.append(batch.index.cpu())
        score[part] = _scan_scores(torch.cat(rows), torch.cat(scan), _numbers([normals[n].patient for n in part]))
    if not np.isfinite(score).all():
        raise DetectorError("the backbone's features of the normal slices are not finite; are its weights damaged?")
    out = _farthest(normals, score, config.contamination)
    return Screened(
        tuple(case for n, case in enumerate(normals) if n not in out),
        tuple(normals[n] for n in sorted(out, key=lambda n: -score[n])),
    )


def _parts(normals: Sequence[Case], slices: int, seed: int) -> list[list[int]]:
    """Numbers of the scans of each part, ascending, whole patients, parts of about one size."""
    names = sorted({case.patient for case in normals})
    order = np.random.default_rng([seed, 2]).permutation(len(names))
    count = math.ceil(len(normals) * slices / PART)
    part_of = {names[name]: place * count // len(names) for place, name in enumerate(order)}
    parts: list[list[int]] = [[] for _ in range(count)]
    for n, case in enumerate(normals):
        parts[part_of[case.patient]].append(n)
    return parts


def _scan_scores(rows: Tensor, scan: Tensor, patient: Tensor) -> list[float]:
    """How far each scan stands out, from features (n, F) of slices, the scan of each, and the patient of each scan."""
    far = outlyingness(rows, patient[scan])
    own = torch.split(far, scan.bincount(minlength=len(patient)).tolist())
    if max(len(part) for part in own) > 1:
        where = [places(len(part)) for part in own]
        profile = PlaceProfile.fit(far, torch.cat(where))
        own = tuple(profile.standardise(part, place) for part, place in zip(own, where, strict=True))
    return [top_k_mean(part, TOP_SHARE) for part in own]


def _numbers(names: Sequence[str]) -> Tensor:
    return torch.from_numpy(np.unique(names, return_inverse=True)[1].astype(np.int64))


def _farthest(normals: Sequence[Case], score: Floats, share: float) -> set[int]:
    """Of each site the share that stands out most, rounded down."""
    found: set[int] = set()
    for site in sorted({case.site for case in normals}):
        here = [n for n, case in enumerate(normals) if case.site == site]
        here.sort(key=lambda n: -score[n])
        found.update(here[: math.floor(share * len(here))])
    return found
