"""The cohort: labelled series with patient and split, checked before any training starts."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.config import Config
from pipeline.errors import CohortError, LabelsError
from pipeline.prepare.labels import LabelRow, read_labels, resolve_classes
from pipeline.prepare.split import Member, Split, assign_splits
from pipeline.scan import SeriesRef


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled (or unlabelled) series.

    Attributes:
        ref: The series.
        labels: Class names; empty means unlabelled.
        patient: Identity that splits and resampling go by; unique to the row where nothing is known.
        known_patient: Whether that identity is a patient's (from labels.csv or the header).
        split: Side of the split.
        columns: Further columns of labels.csv, for groups.
        line: Line of labels.csv.
    """

    ref: SeriesRef
    labels: tuple[str, ...]
    patient: str
    known_patient: bool
    split: Split
    columns: tuple[tuple[str, str], ...]
    line: int = 0

    @property
    def site(self) -> str:
        """The hospital, as labels.csv names it; empty where it does not."""
        return dict(self.columns).get("site", "")


@dataclass(frozen=True, slots=True)
class Cohort:
    """All cases of a labels.csv that ingest could read.

    Attributes:
        classes: Class names, the normal one first.
        cases: In the order of labels.csv.
        left_out: (line of labels.csv, reason) of rows whose series was refused.
        notes: What the reader of the report must know about splits and patients.
    """

    classes: tuple[str, ...]
    cases: tuple[Case, ...]
    left_out: tuple[tuple[int, str], ...]
    notes: tuple[str, ...]

    def side(self, split: Split) -> list[Case]:
        """Labelled cases of one side."""
        return [case for case in self.cases if case.split == split and case.labels]

    def of_sites(self, sites: Sequence[str]) -> "list[Case]":
        """Cases of some sites that may be looked at, labelled or not: all but those of `test`."""
        return [case for case in self.cases if case.site in sites and case.split != "test"]

    def without(self, refused: Mapping[str, str], why: str = "their pixels could not be used") -> "Cohort":
        """The cohort less the series (by content) that turned out of no use, which are listed as left out."""
        gone = tuple((case.line, refused[case.ref.key]) for case in self.cases if case.ref.key in refused)
        if not gone:
            return self
        kept = tuple(case for case in self.cases if case.ref.key not in refused)
        notes = (*self.notes, f"{len(gone)} rows were left out because {why}")
        return replace(self, cases=kept, left_out=(*self.left_out, *gone), notes=notes)

    def without_lines(self, reasons: Mapping[int, str], notes: Sequence[str]) -> "Cohort":
        """The cohort less the rows on some lines, which are listed as left out, with what there is to tell."""
        kept = tuple(case for case in self.cases if case.line not in reasons)
        left_out = (*self.left_out, *sorted(reasons.items()))
        return replace(self, cases=kept, left_out=left_out, notes=(*self.notes, *notes))


def targets(cases: Sequence[Case], classes: Sequence[str]) -> npt.NDArray[np.int8]:
    """Indicator matrix (n, L) of the cases' labels."""
    index = {name: n for n, name in enumerate(classes)}
    matrix = np.zeros((len(cases), len(classes)), np.int8)
    for n, case in enumerate(cases):
        for label in case.labels:
            matrix[n, index[label]] = 1
    return matrix


def build_cohort(path: Path, rows: Sequence[LabelRow], refs: Sequence[SeriesRef], config: Config) -> Cohort:
    """Join labels and series, and split.

    Args:
        path: The labels.csv, for messages.
        rows: Its rows.
        refs: What ingest found below the rows' paths.
        config: Classes, task, sites and seed.

    Raises:
        LabelsError: If a folder holds several series, a label is unknown, or nothing is left.
        LeakageError: If a patient is on two sides.
    """
    rows = _of_sites(path, rows, config)
    classes = resolve_classes(rows, config)
    found = join_series(path, rows, refs)
    kept = [(row, ref) for row, ref in found if ref.status == "ok"]
    left_out = tuple((row.line, ref.reason) for row, ref in found if ref.status != "ok")
    if not kept:
        raise LabelsError(f"{path}: no row could be read ({left_out[0][1]})")
    identities = [row.patient or ref.patient or f"line {row.line}" for row, ref in kept]
    members = [
        Member(patient, f"{row.column('site')}|{'|'.join(row.labels)}", row.split)
        for patient, (row, _) in zip(identities, kept, strict=True)
    ]
    splits, notes = assign_splits(members, seed=config.seed)
    cases = tuple(
        Case(
            ref,
            _canonical(row.labels, classes, config),
            patient,
            bool(row.patient or ref.patient),
            split,
            row.columns,
            row.line,
        )
        for (row, ref), patient, split in zip(kept, identities, splits, strict=True)
    )
    unknown = sum(not case.known_patient for case in cases)
    if unknown:
        notes.append(f"{unknown} rows name no patient: leakage between splits could not be checked for them")
    if left_out:
        notes.append(f"{len(left_out)} rows were left out because their series was refused")
    if config.target_sites:
        notes.append(_of_target(cases, classes, config.target_sites))
    unlabelled = sum(not case.labels and case.site not in config.target_sites for case in cases)
    if unlabelled:
        use = "were compared on, not learned from" if config.task == "one_class" else "were not used"
        notes.append(f"{unlabelled} rows have no label and {use}")
    return Cohort(classes, cases, left_out, tuple(notes))


def _of_target(cases: Sequence[Case], classes: Sequence[str], sites: Sequence[str]) -> str:
    """What there is of the target beside its test rows."""
    there = [case for case in cases if case.site in sites and case.split != "test"]
    labels = Counter(label for case in there for label in case.labels)
    shares = f" ({', '.join(f'{labels[name]} {name}' for name in classes)})" if labels else ""
    known = sum(bool(case.labels) for case in there)
    return f"target {', '.join(sites)}: {len(there)} scans that are not test rows, {known} of them labelled{shares}"


def _of_sites(path: Path, rows: Sequence[LabelRow], config: Config) -> Sequence[LabelRow]:
    """Rows of the sites that the configuration names, all if it names none."""
    there = {row.column("site") for row in rows}
    for key, sites in (("source_sites", config.source_sites), ("target_sites", config.target_sites)):
        absent = [name for name in sites if name not in there]
        if absent:
            known = ", ".join(sorted(name for name in there if name)) or "none: is there a column `site`?"
            raise LabelsError(f"{path}: no row of site {', '.join(absent)} ({key}); sites there: {known}")
    if not config.source_sites:
        return rows
    return [row for row in rows if row.column("site") in {*config.source_sites, *config.target_sites}]


def load_rows(path: Path, config: Config) -> list[LabelRow]:
    """Read labels.csv under a configuration. Raises as `read_labels` does."""
    return read_labels(path, label_column=config.label_column, task=config.task)


def _canonical(labels: tuple[str, ...], classes: Sequence[str], config: Config) -> tuple[str, ...]:
    if config.task == "multilabel" and len(labels) > 1 and classes[0] in labels:
        raise LabelsError(f"a row has both {classes[0]!r} and a finding; in a multi-label task it can have one")
    return labels


def join_series(
    path: Path, rows: Sequence[LabelRow], refs: Sequence[SeriesRef], *, missing_ok: bool = False
) -> list[tuple[LabelRow, SeriesRef]]:
    """Each row with the one series that it names, refused or not.

    Args:
        path: The labels.csv, for messages.
        rows: Its rows.
        refs: What was found.
        missing_ok: Whether rows that name none are left out.

    Raises:
        LabelsError: If a row names several, or none where that is not left out, or two rows name one.
    """
    by_file: dict[str, list[SeriesRef]] = defaultdict(list)
    by_uid = {ref.series_uid: ref for ref in refs if ref.series_uid}
    for ref in refs:
        for file in ref.files:
            by_file[file].append(ref)
    by_folder: dict[str, list[SeriesRef]] = {}
    joined: list[tuple[LabelRow, SeriesRef]] = []
    lines: dict[SeriesRef, int] = {}
    for row in rows:
        if row.series_uid:
            matches = [by_uid[row.series_uid]] if row.series_uid in by_uid else []
        elif Path(row.path).is_dir():
            if not by_folder:
                by_folder = _by_folder(refs)
            matches = by_folder.get(row.path, [])
        else:
            matches = by_file.get(row.path, [])
        usable = [ref for ref in matches if ref.status == "ok"] or matches[:1]
        if not usable:
            if missing_ok:
                continue
            raise LabelsError(f"{path}, line {row.line}: no series found there")
        if len(usable) > 1:
            raise LabelsError(f"{path}, line {row.line}: {len(usable)} series there; name one by series_uid")
        if lines.setdefault(usable[0], row.line) != row.line:
            raise LabelsError(f"{path}: lines {lines[usable[0]]} and {row.line} name the same series")
        joined.append((row, usable[0]))
    return joined


def _by_folder(refs: Sequence[SeriesRef]) -> dict[str, list[SeriesRef]]:
    table: dict[str, list[SeriesRef]] = defaultdict(list)
    for ref in refs:
        above = {str(parent) for file in ref.files for parent in Path(file).parents}
        for folder in above:
            table[folder].append(ref)
    return table


def check_trainable(cohort: Cohort, config: Config) -> None:
    """Refuse a cohort from which nothing can be learned.

    Raises:
        CohortError: With one class only, a class with fewer than two patients, or an empty side.
    """
    labelled = [case for case in cohort.cases if case.labels and case.split != "test"]
    if not labelled:
        raise CohortError("no labelled row is train or val")
    present = Counter(label for case in labelled for label in case.labels)
    absent = [name for name in cohort.classes if not present[name]]
    if len(cohort.classes) < 2 or len(present) < 2:
        raise CohortError(f"one class only ({', '.join(present)}); two are needed to learn a difference")
    if absent:
        raise CohortError(f"class {absent[0]!r} has no row in train or val")
    for name in cohort.classes:
        patients = {case.patient for case in labelled if name in case.labels}
        if len(patients) < 2:
            raise CohortError(f"class {name!r} has {len(patients)} patient; at least 2 are needed, one to learn from "
                              "and one to check on")  # fmt: skip
        for side in ("train", "val"):
            if not any(case.split == side and name in case.labels for case in labelled):
                raise CohortError(f"class {name!r} has no patient in {side}; give more patients or state the split")
