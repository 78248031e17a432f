"""Before a detector is fitted: normal scans that stand out among the others are left out; some may be mislabelled."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.backbones import Backbone
from models.detectors.knn import NearestNeighbours
from models.detectors.outlyingness import outlyingness
from models.detectors.places import PlaceProfile
from models.detectors.pooled import PooledDetector
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
MOST_SLICES = 20_000
ROUNDING = 1e-9  # 0.29 * 100 is a little less than 29


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
    slices' place along the body and pooled as a detector's scores are. Each scan is read once. Of more than 20,000
    slices about so many, of as many patients as possible, are what all are compared with, so that memory does not grow.

    Sites are ranked each by itself, so that a small one is not left out for being itself; those of too few scans for
    one to be left out are ranked together. The scans left out are not all mislabelled: most are merely unusual, in a
    set without any mistake all of them are. A mistake that more than ten patients share, all alike, is not found: they
    look like a kind of normal. The held-out normals that a threshold is chosen on are not screened, or its promise
    would not hold.

    Args:
        backbone: With its weights.
        store: Where their samples are.
        normals: What a detector is to be fitted on.

    Raises:
        DetectorError: If the backbone's features are not finite.
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
        seed=config.seed,
        reduced=uses_bfloat16(device, config.precision),
    ).to(device)
    bar = watch.bar("comparing normal scans with each other", len(normals))
    score = _scan_scores(_how_far(pooled, store, normals, bar))
    out = _farthest(normals, score, config.contamination)
    contents = {normals[n].ref.key for n in out}
    kept = tuple(case for case in normals if case.ref.key not in contents)
    told = f"{len(normals)} normal scans: too few to leave the share {config.contamination:g} of them out"
    return Screened(kept, tuple(normals[n] for n in out), () if out else (told,))


def _how_far(
    pooled: PooledDetector, store: SampleStore, normals: Sequence[Case], told: Callable[[int], None]
) -> list[Tensor]:
    """How far the slices (N,) of each scan stand out."""

    def stream(scans: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        contents = tuple(normals[n].ref.key for n in scans)
        device, numbers = pooled.input_mean.device, torch.tensor(scans)
        for batch in StoredNormals(store, contents, pooled.seed, device, told)():
            rows = pooled.pooled(batch.images).cpu()
            if not bool(rows.isfinite().all()):
                raise DetectorError("the backbone's features of normal slices are not finite; are its weights damaged?")
            yield rows, numbers[batch.index.cpu()]

    patient = torch.from_numpy(np.unique([case.patient for case in normals], return_inverse=True)[1].astype(np.int64))
    first, rest = _to_compare_with(normals, store.preparation.slices, pooled.seed)
    bank, scan = (torch.cat(parts) for parts in zip(*stream(first), strict=True))
    owner = patient[scan]
    far = _by_scan(outlyingness(bank, owner, bank, owner), scan)
    for rows, scan in stream(rest):
        far |= _by_scan(outlyingness(rows, patient[scan], bank, owner), scan)
    return [far[n] for n in range(len(normals))]


def _to_compare_with(normals: Sequence[Case], slices: int, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the scans that all are compared with, at most 20,000 slices in all, and of the others; ascending.

    In an order by chance, the first scan of each patient, then the second of each, and so on.
    """
    order = np.random.default_rng([seed, 2]).permutation(len(normals))
    seen: Counter[str] = Counter()
    turn = np.empty(len(normals), np.int64)
    for n in order:
        turn[n] = seen[normals[n].patient]
        seen[normals[n].patient] += 1
    ranked = order[np.argsort(turn[order], kind="stable")].tolist()
    count = max(1, MOST_SLICES // slices)
    return sorted(ranked[:count]), sorted(ranked[count:])


def _by_scan(far: Tensor, scan: Tensor) -> dict[int, Tensor]:
    """The slices' figures (n,) of each scan, by its number; a scan's slices follow each other."""
    names, counts = torch.unique_consecutive(scan, return_counts=True)
    return dict(zip(names.tolist(), torch.split(far, counts.tolist()), strict=True))


def _scan_scores(far: Sequence[Tensor]) -> Floats:
    """How far each scan stands out, from how far its slices (N,) do."""
    if max(len(part) for part in far) > 1:
        where = [places(len(part)) for part in far]
        with contextlib.suppress(DetectorError):  # alike at each place: there is nothing to standardise
            profile = PlaceProfile.fit(torch.cat(list(far)), torch.cat(where))
            far = [profile.standardise(part, place) for part, place in zip(far, where, strict=True)]
    return np.array([top_k_mean(part, TOP_SHARE) for part in far], np.float64)


def _farthest(normals: Sequence[Case], score: Floats, share: float) -> list[int]:
    """Of each site the share that stands out most, rounded down; those that stand out most within their site first."""
    sites: dict[str, list[int]] = {}
    for n, case in enumerate(normals):
        sites.setdefault(case.site, []).append(n)
    small = [site for site, here in sites.items() if not _count(here, share)]
    together = [n for site in small for n in sites.pop(site)]
    found: list[tuple[float, float, int]] = []
    for here in (*sites.values(), together):
        ranked = sorted(here, key=lambda n: -score[n])[: _count(here, share)]
        found += [(place / len(here), -float(score[n]), n) for place, n in enumerate(ranked)]
    return [n for _, _, n in sorted(found)]


def _count(scans: Sequence[int], share: float) -> int:
    return math.floor(share * len(scans) + ROUNDING)
