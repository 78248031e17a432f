"""The gallery of a validation: chosen scans, drawn with their heat, within a bound for the page."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from pipeline.errors import MapError
from pipeline.evaluate.groups import SMALL
from pipeline.evaluate.predictions import PredictionTable
from pipeline.gallery.choose import Choice, choose
from pipeline.gallery.picture import Picture, draw
from pipeline.model_record import ModelRecord
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.prepare.samples import to_tensor
from pipeline.score.maps.drawing import Draw
from pipeline.score.outcome import Outcome
from pipeline.watch import Watch

MOST_BYTES = 3_000_000  # of all pictures in the page


@dataclass(frozen=True, slots=True)
class Shown:
    """One scan of the gallery, without identity.

    Attributes:
        picture: What it looks like.
        label, predicted: Class names.
        numbers: Name and probability, or anomaly score, of what is told beside it.
        site: As labels.csv names it; empty where it does not, or where its figures are withheld as of too few patients.
        about: What the heat speaks for; empty without heat.
    """

    picture: Picture
    label: str
    predicted: str
    numbers: tuple[tuple[str, float], ...]
    site: str
    about: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """Hits and misses of one label; a side that is empty has none, or had no room."""

    label: str
    hits: tuple[Shown, ...]
    misses: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """What the page shows.

    Attributes:
        shelves: One for each label that has a picture.
        no_room: Chosen scans that would have made the page too large.
        heat: Whether any picture has heat.
        volumes: Whether any has several slices.
    """

    shelves: tuple[Shelf, ...]
    no_room: int
    heat: bool
    volumes: bool


def make_gallery(
    cases: Sequence[Case],
    table: PredictionTable,
    record: ModelRecord,
    store: SampleStore,
    draws: Draw | None,
    watch: Watch,
    *,
    most_bytes: int = MOST_BYTES,
) -> Gallery:
    """Draw the best hits and worst misses of every label.

    The surest hit and the worst miss of every label come first, so that where the page would grow too large each
    label still has its share.

    Args:
        cases, table: The scans and what the model says of them, in one order.
        record: Of the bundle.
        store: Holds the prepared scans.
        draws: Draws heat; None of a model that has no map.
        watch: Told of progress.
        most_bytes: Bound of all pictures together.
    """
    choices = choose(table, record.thresholds, record.anomaly_threshold)
    places = Counter(_in_turn(choices))  # a scan with two labels stands twice in the page
    drawn: dict[int, Shown] = {}
    used, bar = 0, watch.bar("drawing the gallery", len(places))
    for row, times in places.items():
        if used < most_bytes:
            one = _shown(cases[row], row, table, record, store, draws)
            used += times * one.picture.size
            if used <= most_bytes:
                drawn[row] = one
        bar(1)
    shelves = (
        Shelf(choice.label, *(tuple(drawn[r] for r in side if r in drawn) for side in (choice.hits, choice.misses)))
        for choice in choices
    )
    pictures = [one.picture for one in drawn.values()]
    return Gallery(
        tuple(shelf for shelf in shelves if shelf.hits or shelf.misses),
        len(places) - len(drawn),
        any(picture.heat for picture in pictures),
        any(picture.slices > 1 for picture in pictures),
    )


def _in_turn(choices: Sequence[Choice]) -> Iterator[int]:
    """Rows, the first of every side of every label, then the second ones."""
    sides = [side for choice in choices for side in (choice.misses, choice.hits)]
    return (row for row in chain.from_iterable(zip_longest(*sides)) if row is not None)


def _shown(
    case: Case, row: int, table: PredictionTable, record: ModelRecord, store: SampleStore, draws: Draw | None
) -> Shown:
    slices = store.load(case.ref.key)
    label, predicted, numbers = _told(case, row, table, record)
    heat, about = None, ""
    if draws is not None:
        outcome = Outcome("scored", probability=tuple(float(p) for p in table.probability[row]))
        try:
            found = draws(to_tensor(slices), outcome)
            heat, about = found.maps, found.about
        except MapError:  # the picture alone is worth showing
            about = ""
    picture = draw(slices, heat)
    return Shown(picture, label, predicted, numbers, _site(table, row), about if picture.heat else "")


def _site(table: PredictionTable, row: int) -> str:
    """The scan's site; empty for one of few patients, whose figures the report withholds."""
    if "site" not in table.groups:
        return ""
    sites = table.groups["site"]
    patients = {patient for patient, site in zip(table.patient, sites, strict=True) if site == sites[row]}
    return sites[row] if len(patients) >= SMALL else ""


def _told(
    case: Case, row: int, table: PredictionTable, record: ModelRecord
) -> tuple[str, str, tuple[tuple[str, float], ...]]:
    """Label, prediction and their numbers in the page's words."""
    label, probability = ", ".join(case.labels), table.probability[row]
    if table.task == "one_class":
        called = bool(table.decided(record.anomaly_threshold)[row])
        return label, table.classes[int(called)], (("anomaly score", float(table.anomaly_score[row])),)
    if table.task == "multilabel":
        called_names = [
            name for c, name in enumerate(table.classes) if probability[c] >= record.thresholds.get(name, 0.5)
        ]
        named = dict.fromkeys((*case.labels, *called_names))
        return label, ", ".join(called_names) or "none", _numbers(table, row, tuple(named))
    best = table.classes[int(probability.argmax())]
    return label, best, _numbers(table, row, tuple(dict.fromkeys((*case.labels, best))))


def _numbers(table: PredictionTable, row: int, names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    return tuple((name, float(table.probability[row, table.classes.index(name)])) for name in names)
