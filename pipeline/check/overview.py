"""What the series tell together, by their headers: how each was split, and in which transfer syntaxes they are."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.check.grouping import Fingerprint, base_uid, fingerprint, left_out, split_by
from pipeline.check.one_series import headed
from pipeline.check.row import SeriesCheck
from pipeline.scan import SeriesRef
from pipeline.watch import Watch


def look_at_all(refs: Sequence[SeriesRef], watch: Watch) -> tuple[list[SeriesCheck], Mapping[str, int]]:
    """Every row by its headers, and Transfer Syntax UID to number of files."""
    gathered = Gathered()
    step = watch.bar("proving geometry", len(refs))
    rows = []
    for number, ref in enumerate(refs, start=1):
        rows.append(gathered.row(number, ref))
        step(1)
    return gathered.explained(rows), gathered.syntaxes


@dataclass(slots=True)
class Gathered:
    """What many series tell together, gathered one by one so that no header is kept.

    Attributes:
        syntaxes: Transfer Syntax UID to number of files.
        volumes: Series Instance UID to the volumes that were made of it.
    """

    syntaxes: Counter[str] = field(default_factory=Counter)
    volumes: dict[str, list[Fingerprint]] = field(default_factory=lambda: defaultdict(list))

    def row(self, number: int, ref: SeriesRef) -> SeriesCheck:
        """Look at the headers of one series."""
        row, look = headed(number, ref)
        if look and ref.volume == 0:
            self.syntaxes.update(look.syntaxes)
        if look and look.frames:
            self.volumes[base_uid(ref.series_uid)].append(fingerprint(look.frames, placed=ref.geometry == "patient"))
        return row

    def explained(self, rows: Sequence[SeriesCheck]) -> list[SeriesCheck]:
        """The rows with what each was split by, and what was left out of its series."""
        reasons = {uid: split_by(volumes) for uid, volumes in self.volumes.items()}
        apart = left_out(row.ref for row in rows)
        told: set[str] = set()  # what was left out is told once, in the first volume of a series
        explained = []
        for row in rows:
            uid = base_uid(row.ref.series_uid)
            copies: Mapping[str, int] = apart.get(uid, {}) if uid not in told else {}
            told.add(uid)
            split = reasons.get(uid) or row.split_by
            explained.append(dataclasses.replace(row, split_by=split, left_out=tuple(sorted(copies.items()))))
        return explained
