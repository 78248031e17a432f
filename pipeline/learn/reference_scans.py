"""Which scans a bundle's reference statistics are of."""

from torch import Tensor

from pipeline.learn.train import Made
from pipeline.model_record import ModelRecord
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.shift.encoder import Floats
from pipeline.shift.reference import reference_statistics
from pipeline.watch import Watch

LEAST_BASIS = 20


def bundle_reference(
    made: Made, store: SampleStore, record: ModelRecord, watch: Watch
) -> tuple[dict[str, str], dict[str, dict[str, Tensor]]]:
    """Reference statistics of scans that the model shows as it shows new ones; none where there are too few of these.

    The cases stand with the logits that they had from models which had not seen them. A backbone that was trained on
    them gives features that new scans do not have: then the target's scans without labels take their place.
    """
    cases, others = list(made.cases), _others(made)
    held, basis = cases, others
    logits: Floats | None = made.logits.numpy()
    if made.tuned_on_cases and len(others) < LEAST_BASIS:
        return {}, {}
    if made.tuned_on_cases:
        held, basis, logits = others, cases, None
    elif len(others) < LEAST_BASIS:
        first = set(sorted({case.patient for case in cases})[::2])
        held, basis = [c for c in cases if c.patient in first], [c for c in cases if c.patient not in first]
        logits = made.logits.numpy()[[case.patient in first for case in cases]]
    store.fill([case.ref for case in (*held, *basis)])  # a rung may have another preparation, for some cases only
    return reference_statistics(
        made.plan.classifier,
        store,
        held,
        basis,
        record=record,
        device=made.plan.device,
        seed=made.plan.config.seed,
        logits=logits,
        watch=watch,
    )


def _others(made: Made) -> list[Case]:
    """Scans of the same hospitals as the cases, without label or trained on, for the basis."""
    keys, sites = {case.ref.key for case in made.cases}, {case.site for case in made.cases}
    known = [case for case in made.plan.cohort.cases if case.split != "test" and case.site in sites]
    targeted = made.plan.config.target_sites
    return [case for case in known if case.ref.key not in keys and (case.labels or case.site in targeted)]
