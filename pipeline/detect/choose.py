"""Which detector: the one that the config names, or the one that stands an unlabelled pool off best."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.backbones import Backbone
from models.errors import DetectorError
from pipeline.config import Config
from pipeline.detect.aucp import LEAST, Aucp, aucp
from pipeline.detect.checks import AUTO
from pipeline.detect.fit import Fitted, fit_detector
from pipeline.detect.record import Candidate
from pipeline.detect.screen import Screened, screen_normals
from pipeline.errors import CohortError
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.watch import Watch

DEFAULT = "knn"
CANDIDATES = (DEFAULT, "mahalanobis", "padim", "patchcore")


@dataclass(frozen=True, slots=True, eq=False)
class Scans:
    """What detectors are fitted on and compared by.

    Attributes:
        normals: To fit on.
        held: Normals that none is fitted on.
        pool: Unlabelled scans of the same sites.
    """

    normals: Sequence[Case]
    held: Sequence[Case]
    pool: Sequence[Case]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A fitted detector, and why this one.

    Attributes:
        fitted: The detector.
        name: Its name.
        reason: Why it was taken.
        candidates: What was measured of each.
        screened: What it was fitted on, and what was left out.
    """

    fitted: Fitted
    name: str
    reason: str
    candidates: tuple[Candidate, ...]
    screened: Screened


def choose_detector(
    backbone: Backbone, store: SampleStore, scans: Scans, *, config: Config, device: torch.device, watch: Watch
) -> Chosen:
    """Fit the detector of the config; for `auto` those of CANDIDATES, of which the one with the highest AUCp is taken.

    All are fitted on the same scans: those that `screen_normals` keeps.

    A difference in AUCp within noise is taken all the same: without labels nothing better is known. Without a pool
    of 50 scans, or of 50 held-out normals, `auto` takes the default and says so. A candidate that cannot be fitted is
    left out and listed.

    Raises:
        DetectorError: If none can be fitted.
    """
    screened = screen_normals(backbone, store, scans.normals, config=config, device=device, watch=watch)

    def fit(name: str) -> Fitted:
        return fit_detector(name, backbone, store, screened.kept, config=config, device=device, watch=watch)

    if config.detector != AUTO:
        return Chosen(fit(config.detector), config.detector, "named in the config", (), screened)
    lacking = _lacking(scans)
    if lacking:
        return Chosen(fit(DEFAULT), DEFAULT, f"the default: {lacking}", (), screened)
    fitted: dict[str, Fitted] = {}
    measured: dict[str, Aucp] = {}
    listed: list[Candidate] = []
    for name in CANDIDATES:
        try:
            fitted[name] = fit(name)
        except DetectorError as error:
            listed.append(Candidate(name=name, aucp=None, note=str(error)))
            watch.note(f"detector {name}: {error}")
            continue
        measured[name] = _measure(fitted[name], store, scans, config.seed, watch)
        listed.append(Candidate(name=name, aucp=measured[name].value, note=_interval(measured[name])))
        watch.note(f"detector {name}: AUCp {measured[name].value:.3f}")
        best = max(measured, key=lambda other: measured[other].value)
        fitted = {best: fitted[best]}  # one detector's memory at a time, beside the best
    if not fitted:
        raise DetectorError(f"no detector could be fitted: {listed[0].note}")
    (best,) = fitted
    reason = f"highest AUCp on {len(scans.pool)} unlabelled scans"
    return Chosen(fitted[best], best, reason, tuple(listed), screened)


def _lacking(scans: Scans) -> str:
    if len(scans.pool) < LEAST:
        return f"{len(scans.pool)} unlabelled scans, at least {LEAST} are needed to choose among detectors"
    if len(scans.held) < LEAST:
        return f"{len(scans.held)} held-out normals, at least {LEAST} are needed to choose among detectors"
    return ""


def _measure(fitted: Fitted, store: SampleStore, scans: Scans, seed: int, watch: Watch) -> Aucp:
    both = [*scans.held, *scans.pool]
    bar = watch.bar("scoring held-out normals and the pool", len(both))
    raw = fitted.model.raw_scores(store, [case.ref.key for case in both], bar)
    count = len(scans.held)
    try:
        return aucp(
            raw[:count],
            raw[count:],
            normal_patients=[case.patient for case in scans.held],
            pool_patients=[case.patient for case in scans.pool],
            seed=seed,
        )
    except CohortError as error:
        raise DetectorError(str(error)) from error


def _interval(found: Aucp) -> str:
    return found.reason if found.low is None else f"95 % interval {found.low:.3f} to {found.high:.3f}"
