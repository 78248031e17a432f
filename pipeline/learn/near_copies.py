"""Copies of one picture under several patients, found before training: held-out ones would flatter the model."""

from collections.abc import Iterable, Sequence

from pipeline.errors import CohortError, Reason
from pipeline.learn.known_pictures import slabs_of
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, Cohort
from pipeline.prepare.near_duplicates import first_rows, near_pairs
from pipeline.prepare.picture_hash import detail, one_thread, picture_bits
from pipeline.watch import Watch

UNSALTED = "00" * 16  # these hashes are not kept, and the same scans shall give the same pairs
LISTED = 20

Pair = tuple[Case, Case]


def find_copies(cases: Sequence[Case], store: SampleStore, watch: Watch) -> list[Pair]:
    """All pairs of scans that look like copies of one picture, each once, in the order of the cases."""
    slabs, bar = slabs_of(store.preparation), watch.bar("comparing scans", len(cases))
    queries, place = [], []
    with one_thread():
        for n, case in enumerate(cases):
            rows = picture_bits(detail(store.load(case.ref.key), slabs), UNSALTED)
            if len(rows):
                queries.append(rows)
                place.append(n)
            bar(1)
    if not queries:
        return []
    found: set[tuple[int, int]] = set()
    for query, references in near_pairs(queries, first_rows(queries)):
        found |= {(min(query, int(other)), max(query, int(other))) for other in references if other != query}
    return [(cases[place[one]], cases[place[other]]) for one, other in sorted(found)]


def leave_copies_out(cohort: Cohort, pairs: Iterable[Pair], *, target_sites: Sequence[str], keep: bool) -> Cohort:
    """The cohort without held-out scans that are copies of scans, under another patient, which are learned from.

    Of a pair across `val` and `train` the `val` row goes; of one across a source and a target the target's, since that
    is what figures are measured on. Pairs on one side stay and are told, as are copies with different labels.

    Args:
        cohort: Of any splits.
        pairs: Of `find_copies`.
        target_sites: As in the configuration.
        keep: Only tell; leave nothing out.
    """
    gone: dict[int, str] = {}
    alike: list[Pair] = []
    odd: list[Pair] = []
    for one, other in pairs:
        kept, held = sorted((one, other), key=lambda case: _rank(case, target_sites))
        if one.labels and other.labels and set(one.labels) != set(other.labels):
            odd.append((one, other))
        if one.patient == other.patient:
            continue
        if keep or _rank(kept, target_sites) == _rank(held, target_sites):
            alike.append((one, other))
        else:
            words = f"looks like a copy of line {kept.line}, which is {kept.split}, under another patient"
            gone.setdefault(held.line, f"{Reason.NEAR_DUPLICATE}: {words}")
    notes = []
    if gone:
        lines = _some([str(line) for line in sorted(gone)])
        notes.append(
            f"{len(gone)} held-out rows were left out because they look like copies of scans of other patients that "
            f"are learned from (labels.csv lines {lines})"
        )
    if alike:
        notes.append(
            f"{len(alike)} pairs of rows of different patients look like copies of one scan and were kept: "
            f"{_told(alike)}"
        )
    if odd:
        notes.append(
            f"check the labels: {len(odd)} pairs of rows look like copies of one scan and are labelled differently: "
            f"{_told(odd)}"
        )
    return cohort.without_lines(gone, notes)


def because_of_copies(error: CohortError, cohort: Cohort) -> CohortError:
    """The error that too few scans are left, with what to do if they were taken for copies."""
    count = sum(reason.startswith(Reason.NEAR_DUPLICATE) for _, reason in cohort.left_out)
    if not count:
        return error
    return CohortError(
        f"{error}; {count} rows were left out as near-duplicates of scans of other patients: give a patient's rows one "
        "patient and one split, or near_duplicates=list to keep them"
    )


def _rank(case: Case, target_sites: Sequence[str]) -> int:
    """The lower, the more it is learned from."""
    return 2 if case.split != "train" else int(case.site in target_sites)


def _told(pairs: Sequence[Pair]) -> str:
    return "labels.csv lines " + _some([f"{one.line} and {other.line}" for one, other in pairs])


def _some(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
