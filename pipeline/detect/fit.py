"""Fitting one detector to the normal scans of a cohort."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.backbones import Backbone
from models.detectors import DETECTORS
from models.detectors.places import PlaceProfile
from models.errors import DetectorError
from models.registry import lookup
from pipeline.config import Config
from pipeline.detect.scan_detector import ScanDetector
from pipeline.detect.slices import StoredNormals, places
from pipeline.learn.device import uses_bfloat16
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.prepare.samples import Preparation
from pipeline.watch import Watch

TOP_SHARE = 0.1
PROFILE_SHARE = 0.2
LEAST_PROFILE = 5


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A detector that was fitted.

    Attributes:
        model: Scores scans.
        notes: What a reader must know.
    """

    model: ScanDetector
    notes: tuple[str, ...]


def fit_detector(
    name: str,
    backbone: Backbone,
    store: SampleStore,
    normals: Sequence[Case],
    *,
    config: Config,
    device: torch.device,
    watch: Watch,
) -> Fitted:
    """Fit a detector to prepared normal scans.

    For volumes a fifth of the patients is kept from the detector: how their slices score tells how normal slices score
    at each place along the body, by which all slices are standardised. Scans that it was fitted on would score too low.

    Args:
        name: From `DETECTORS`.
        backbone: With its weights.

    Raises:
        DetectorError: If the scans do not allow it.
        UnknownNameError: If the network lacks a stage that the config names.
    """
    detector = lookup("detector", DETECTORS, name)(
        backbone,
        image_size=store.preparation.image_size,
        stages=stages_of(backbone, config),
        seed=config.seed,
        reduced=uses_bfloat16(device, config.precision),
    ).to(device)
    fitted, kept = _for_profile(normals, config.seed) if store.preparation.kind == "volume" else (list(normals), [])
    bar = watch.bar(f"fitting {name}", len(fitted))
    contents = tuple(case.ref.key for case in fitted)
    detector.fit(StoredNormals(store, contents, config.seed, device, bar), report=watch.note)
    detector.eval()
    notes = _notes(store.preparation, detector.has_maps)
    if not kept:
        lacking = () if store.preparation.kind != "volume" else (_no_profile(normals),)
        return Fitted(ScanDetector(detector, None, TOP_SHARE), (*lacking, *notes))
    profile = _profile(ScanDetector(detector, None, TOP_SHARE), store, kept)
    return Fitted(ScanDetector(detector, profile, TOP_SHARE), notes)


def _notes(preparation: Preparation, has_maps: bool) -> tuple[str, ...]:
    """Where the way grey values are brought to 0..1 lets a lesion change the whole scan."""
    own = preparation.window is None and preparation.modality != "CT" and preparation.kind == "volume"
    if not own or not has_maps:
        return ()
    return (
        "grey values are scaled by each volume's own percentiles or window: a bright lesion may darken all the rest, "
        "and maps peak elsewhere; set window=[LOW,HIGH] where values mean the same in every scan",
    )


def stages_of(backbone: Backbone, config: Config) -> tuple[str, ...]:
    """Stages that a detector uses, from stem to top; empty leaves the choice to it.

    Raises:
        UnknownNameError: If the network lacks one that the config names.
    """
    stages = {name: name for name in backbone.stage_names}
    named = {lookup("stage", stages, name) for name in config.detector_stages}
    joined = backbone.taps if len(backbone.taps) > 1 else ()
    return tuple(name for name in stages if name in named) or joined


def _for_profile(normals: Sequence[Case], seed: int) -> tuple[list[Case], list[Case]]:
    """Scans to fit on, and those of a fifth of the patients, if these are at least five."""
    patients = sorted({case.patient for case in normals})
    count = round(PROFILE_SHARE * len(patients))
    if count < LEAST_PROFILE:
        return list(normals), []
    order = np.random.default_rng([seed, 1]).permutation(len(patients))
    kept = {patients[n] for n in order[:count]}
    return [c for c in normals if c.patient not in kept], [c for c in normals if c.patient in kept]


def _profile(model: ScanDetector, store: SampleStore, cases: Sequence[Case]) -> PlaceProfile:
    scores = [model.slice_scores([store.load(case.ref.key)])[0] for case in cases]
    if not scores:
        raise DetectorError("no normal volume is left to learn how slices score along the body")
    return PlaceProfile.fit(torch.cat(scores), torch.cat([places(len(s)) for s in scores]))


def _no_profile(normals: Sequence[Case]) -> str:
    patients = len({case.patient for case in normals})
    needed = math.ceil((LEAST_PROFILE - 0.5) / PROFILE_SHARE)
    return (
        f"{patients} normal patients left to learn from: too few to learn how normal slices score at each place along "
        f"the body ({needed} are needed), so that a slice's place may look like disease"
    )
