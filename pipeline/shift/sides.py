"""One side of a comparison: which series it has, whose they are, and what is left out before pixels are read."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from models.bundle import SUMS
from pipeline.config import Config, Task
from pipeline.errors import LabelsError, LeakageError, Reason, RefusedError, SourceError
from pipeline.ingest.archives import workspace_archives
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.leakage import TrainingSet
from pipeline.learn.plan import find_series
from pipeline.prepare.cohort import join_series
from pipeline.prepare.labels import LabelRow, read_labels
from pipeline.prepare.samples import Preparation
from pipeline.scan import SeriesRef, modality_group
from pipeline.watch import Watch
from pipeline.workspace import Workspace

Role = Literal["reference", "incoming"]
Source = Literal["folder", "labels", "bundle"]
TABLES = frozenset({".csv", ".tsv"})
MOST_SCANS = 2000


@dataclass(frozen=True, slots=True)
class Setting:
    """What a comparison runs with.

    Attributes:
        config: Seed, device, label column; without a bundle the backbone and the preparation too.
        workspace: Of the catalogue and the caches.
        watch: Told of progress.
    """

    config: Config
    workspace: Workspace
    watch: Watch


@dataclass(frozen=True, slots=True)
class Member:
    """One series of a side.

    Attributes:
        ref: The series.
        patient: Identity that resampling goes by; of the series itself where no patient is known.
        labels: Class names; empty means unlabelled.
    """

    ref: SeriesRef
    patient: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundSide:
    """What lies on one side.

    Attributes:
        role: Which side it is.
        source: What was given.
        members: Readable series, each content once, in order of their sources or rows.
        found: Number of series, readable or not.
        refused: Reason code to number of series that are not used.
        notes: What the reader must know, without identity.
    """

    role: Role
    source: Source
    members: tuple[Member, ...]
    found: int
    refused: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()

    def less(self, kept: Sequence[Member], code: str, note: str = "") -> "FoundSide":
        """The side with these members only; the others are counted under a code."""
        gone = len(self.members) - len(kept)
        if not gone:
            return self
        notes = (*self.notes, note.format(n=gone)) if note else self.notes
        return replace(self, members=tuple(kept), refused=self.refused + Counter({code: gone}), notes=notes)


def source_of(path: Path) -> Source:
    """Whether a path is a bundle, a labels.csv, or a folder (or single file) of scans."""
    if (path / SUMS).is_file():
        return "bundle"
    return "labels" if path.suffix.lower() in TABLES and path.is_file() else "folder"


def find_side(role: Role, path: Path, site: str, *, task: Task, setting: Setting) -> FoundSide:
    """Ingest one side.

    Args:
        role: Which side it is.
        path: A folder, a single file or a labels.csv.
        site: Only rows of this site of a labels.csv; empty for all.
        task: Whether several labels may stand in one cell.
        setting: What the comparison runs with.

    Raises:
        SourceError, LabelsError: If it is missing, makes no sense or holds no series that can be read.
    """
    if source_of(path) == "labels":
        side = _of_labels(role, path, site, task, setting)
    else:
        side = _of_folder(role, path, setting)
    if not side.members:
        codes = ", ".join(f"{count} {code}" for code, count in side.refused.items())
        raise SourceError(f"{path}: no series that can be read ({codes or 'nothing found'})")
    return side


def _of_folder(role: Role, path: Path, setting: Setting) -> FoundSide:
    with contextlib.closing(Catalog(setting.workspace.catalog_url)) as catalog:
        places = workspace_archives(setting.workspace, everywhere=False)
        progress = setting.watch.count(f"reading headers, {role}", 0)
        refs = scan_sources([path], catalog=catalog, progress=progress, archives=places)
    refused = Counter(_code(ref) for ref in refs if ref.status == "refused")
    members = tuple(Member(ref, _patient(ref)) for ref in refs if ref.status == "ok")
    return _each_once(FoundSide(role, "folder", members, sum(refused.values()) + len(members), refused))


def _of_labels(role: Role, path: Path, site: str, task: Task, setting: Setting) -> FoundSide:
    rows = read_labels(path, label_column=setting.config.label_column, task=task)
    if site:
        rows = _of_site(path, rows, site)
    joined = join_series(path, rows, find_series(rows, setting.workspace, setting.watch))
    refused = Counter(_code(ref) for _, ref in joined if ref.status != "ok")
    members = tuple(Member(ref, row.patient or _patient(ref), row.labels) for row, ref in joined if ref.status == "ok")
    return _each_once(FoundSide(role, "labels", members, len(joined), refused))


def _of_site(path: Path, rows: Sequence[LabelRow], site: str) -> list[LabelRow]:
    kept = [row for row in rows if row.column("site") == site]
    if not kept:
        sites = sorted({row.column("site") for row in rows} - {""})
        raise LabelsError(f"{path}: no row of site {site} (sites there: {', '.join(sites) or 'none'})")
    return kept


def _code(ref: SeriesRef) -> str:
    return ref.reason.partition(":")[0]


def _patient(ref: SeriesRef) -> str:
    return ref.patient or f"scan {ref.key}"


def _each_once(side: FoundSide) -> FoundSide:
    once: dict[str, Member] = {}
    for member in side.members:
        once.setdefault(member.ref.key, member)
    return side.less(tuple(once.values()), Reason.DUPLICATE_FILE)


def of_one_kind(side: FoundSide, preparation: Preparation) -> FoundSide:
    """The side without series of another kind or modality group than the encoder is for.

    Raises:
        RefusedError: If none is left.
    """
    wanted = (preparation.kind, preparation.modality)
    kept = [member for member in side.members if _kind(member.ref) == wanted]
    if not kept:
        found = Counter(" ".join(_kind(member.ref)) for member in side.members)
        words = ", ".join(f"{count} {kind}" for kind, count in found.most_common())
        raise RefusedError(f"{side.role}: its series are {words}; this comparison is for {' '.join(wanted)}")
    return side.less(kept, Reason.NOT_APPLICABLE, f"{side.role}: {{n}} series are no {' '.join(wanted)}")


def _kind(ref: SeriesRef) -> tuple[str, str]:
    return ref.kind, modality_group(ref.modality)


def not_trained_on(side: FoundSide, training: TrainingSet) -> FoundSide:
    """The side without scans whose patient or content was in the bundle's training, which look too familiar.

    Raises:
        LeakageError: If none is left.
    """
    kept = [
        member
        for member in side.members
        if not training.saw_patient(member.patient) and not training.saw_series(member.ref.key)
    ]
    if not kept:
        advice = "; give the bundle itself as REFERENCE" if side.role == "reference" else ""
        raise LeakageError(f"{side.role}: every scan or its patient was in the bundle's training{advice}")
    note = f"{side.role}: {{n}} series were left out because their patient or scan was in the bundle's training"
    return side.less(kept, "IN_TRAINING", note)


def at_most(side: FoundSide, seed: int, most: int = MOST_SCANS) -> FoundSide:
    """At most so many scans, of whole patients drawn at random; their order is kept."""
    if len(side.members) <= most:
        return side
    count = Counter(member.patient for member in side.members)
    names = sorted(count)
    left, drawn = most, set()
    for place in np.random.default_rng(seed).permutation(len(names)):
        name = names[place]
        if count[name] <= left:
            drawn.add(name)
            left -= count[name]
    kept = [member for member in side.members if member.patient in drawn] or side.members[:most]
    note = f"{side.role}: {{n}} series were left out; {most} at most are compared, of patients drawn by the seed"
    return side.less(kept, "NOT_DRAWN", note)


def with_known_labels(side: FoundSide, classes: Sequence[str]) -> FoundSide:
    """The side whose labels are all among the classes; others count as unlabelled."""
    known = set(classes)
    odd = sum(not known.issuperset(member.labels) for member in side.members)
    if not odd:
        return side
    members = tuple(m if known.issuperset(m.labels) else replace(m, labels=()) for m in side.members)
    note = f"{side.role}: {odd} labels are not among the classes ({', '.join(classes)}) and were not used"
    return replace(side, members=members, notes=(*side.notes, note))
