"""How far the scans of a validation lie from those that the bundle remembers of its own adaptation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from models.bundle import Bundle
from pipeline.errors import SourceError
from pipeline.evaluate.plots import Plot
from pipeline.model_record import ModelRecord
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.shift.domain import Domain
from pipeline.shift.encoder import Encoder, bundle_encoder
from pipeline.shift.measure import measure_shift
from pipeline.shift.plots import distributions, scatter
from pipeline.shift.reading import as_domains, read_scans
from pipeline.shift.sides import FoundSide, Member, at_most
from pipeline.shift.stored_reference import read_reference
from pipeline.shift.wording import KIND_WORDS, qualifications, shift_sentence
from pipeline.watch import Watch

PERMUTATIONS = 500
MOST_SPREADS = 2


@dataclass(frozen=True, slots=True)
class ShiftFound:
    """What a validation's report says of the shift.

    Attributes:
        badge: The kind of shift in a few words.
        sentence: What was found and how sure it is; empty where nothing was compared.
        details: What qualifies it.
        reference: Scans of the bundle's own that these were compared with.
        plots: Both sides as dots, and the spread of probabilities; empty where there are too few scans.
        reason: Why nothing was compared; else empty.
    """

    badge: str = ""
    sentence: str = ""
    details: tuple[str, ...] = ()
    reference: int = 0
    plots: tuple[Plot, ...] = ()
    reason: str = ""


def shift_of_validation(
    bundle: Bundle,
    record: ModelRecord,
    cases: Sequence[Case],
    store: SampleStore,
    device: torch.device,
    watch: Watch,
) -> ShiftFound:
    """Compare labelled scans with the bundle's reference statistics, as `scanshift shift BUNDLE LABELS.csv` does.

    Features come from the cache that scoring has just filled, so that the network does not run again.

    Raises:
        BundleError: If the reference statistics make no sense.
    """
    if record.detector is not None:
        return ShiftFound(reason="a detector's bundle keeps no reference statistics")
    try:
        stored = read_reference(bundle, record)
    except SourceError:
        return ShiftFound(reason="the bundle keeps no reference statistics")
    encoder, seed = bundle_encoder(bundle, device), record.config.seed
    members = tuple({case.ref.key: Member(case.ref, case.patient, case.labels) for case in cases}.values())
    side = at_most(FoundSide("incoming", "labels", members, len(members)), seed)
    scans = read_scans(side, encoder, store, watch)
    scans = replace(scans, features=stored.project(scans.features))
    reference, incoming, _ = as_domains(stored.scans, scans)
    watch.note(f"comparing {incoming.n} scans with {reference.n} that the bundle remembers")
    report = measure_shift(reference, incoming, seed=seed, permutations=PERMUTATIONS, task=encoder.task)
    measured = report.to_json()
    return ShiftFound(
        badge=KIND_WORDS["untested" if measured["test"] is None else measured["kind"]["kind"]],
        sentence=shift_sentence(measured),
        details=tuple(qualifications(measured)),
        reference=reference.n,
        plots=_plots(reference, incoming, encoder, seed) if measured["sizes"]["c2st_auc"]["value"] is not None else (),
    )


def _plots(reference: Domain, incoming: Domain, encoder: Encoder, seed: int) -> tuple[Plot, ...]:
    """Both sides as dots, and the spread of the first classes' probabilities."""
    spread = distributions(reference, incoming, encoder.classes, encoder.task)
    return (scatter(reference, incoming, seed), *spread[:MOST_SPREADS])
