"""De-identify a folder: every file is written, refused or ignored; the report says what was changed, not from what."""

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.deidentify.one_file import Cleaned, deidentify
from pipeline.deidentify.options import Options
from pipeline.deidentify.profile import EDITION
from pipeline.deidentify.secret import Secret
from pipeline.errors import ConfigError, Reason, RefusedError, ScanError, SourceError
from pipeline.ingest.budget import BUDGET_BYTES
from pipeline.ingest.dicom_file import looks_like_dicom, parse_every_element
from pipeline.ingest.examine import DICOM_NAMES
from pipeline.ingest.faults import FAULTS, scan_error
from pipeline.ingest.find import IGNORED, FoundFile, find_files
from pipeline.ingest.silence import quiet
from pipeline.watch import Watch
from pipeline.workspace import require_space, require_writable, whole_file, write_json

REPORT = "deidentification.json"
START_BYTES = 132
NOT_OURS = "{}: not empty, and not the output of a run with this key; name another folder"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one file; `source` and `file` together link identities, so the table is the user's own."""

    source: str
    status: str
    reason: str = ""
    file: str = ""


@dataclass(slots=True, eq=False)
class Run:
    """One run, and what it has counted so far.

    Attributes:
        dest: Folder of the output.
        secret: The key.
        options: What the user chose.
        rows: One for each file found.
        changes: How often which element was changed how.
        places: Output files of this run.
        masked: Images of which a part was blackened.
        recognisable: Images that say a face can be recognised from them.
    """

    dest: Path
    secret: Secret
    options: Options
    rows: list[Row] = field(default_factory=list)
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    places: set[str] = field(default_factory=set)
    masked: int = 0
    recognisable: int = 0

    def take(self, found: FoundFile) -> None:
        """Bring one file to its end; nothing that it holds makes this raise."""
        if found.reason:
            self.rows.append(_row(found.source, found.reason))
            return
        try:
            cleaned, recognisable = _clean(found.path, self.secret, self.options)
            if cleaned.place in self.places:
                raise ScanError(Reason.DUPLICATE_FILE, "another object of this SOP Instance UID was written before")
        except ScanError as error:
            self.rows.append(_row(found.source, str(error)))
        except FAULTS as error:
            code = Reason.UNREADABLE if isinstance(error, OSError) and error.errno else Reason.CORRUPT_FILE
            self.rows.append(_row(found.source, str(scan_error(error, code))))
        else:
            self._write(found.source, cleaned)
            self.recognisable += recognisable

    def _write(self, source: str, cleaned: Cleaned) -> None:
        with whole_file(self.dest / cleaned.place, mode="wb", synced=False) as file:
            file.write(cleaned.content)
        self.places.add(cleaned.place)
        self.changes += cleaned.changes
        self.masked += cleaned.masked
        self.rows.append(Row(source, "written", file=cleaned.place))

    def report(self, state: str) -> dict[str, Any]:
        """The record beside the output: what was changed, without values, names, or links to the source."""
        changes: dict[str, dict[str, int]] = {}
        for (name, how), count in sorted(self.changes.items()):
            changes.setdefault(name, {})[how] = count
        return {
            "state": state,
            "profile": f"{EDITION} Annex E, Basic Application Level Confidentiality Profile",
            "version": version("scanshift"),
            "key_check": self.secret.check,
            "options": dataclasses.asdict(self.options),
            "files": dict(sorted(Counter(row.status for row in self.rows).items())),
            "reasons": dict(sorted(Counter(row.reason.split(":")[0] for row in self.rows if row.reason).items())),
            "masked": self.masked,
            "recognisable_features": self.recognisable,
            "changes": changes,
        }


def deidentify_folder(source: Path, dest: Path, secret: Secret, options: Options, *, watch: Watch) -> Run:
    """De-identify everything below a folder into `DEST/<patient>/<series>/<object>.dcm`.

    Args:
        source: Folder or file.
        dest: Folder that is made, is empty, or holds the output of a run with the same key.
        secret: The key.
        options: Of the profile.
        watch: Told of progress.

    Raises:
        ConfigError: If one folder lies in the other.
        RefusedError: If `dest` holds something else.
        SourceError: If `source` is missing or `dest` cannot be written.
        DiskSpaceError: If what may be written would not fit.
    """
    require_folders(source, dest)
    _require_own(dest, secret)
    for left in dest.rglob(".*.tmp"):  # what a run that was killed had half written
        left.unlink(missing_ok=True)
    files = list(find_files([source]))
    require_space(dest, sum(_size(found) for found in files))
    run = Run(dest, secret, options)
    write_json(dest / REPORT, run.report("unfinished"))
    step = watch.bar("de-identifying", len(files))
    for found in files:
        run.take(found)
        step(1)
    write_json(dest / REPORT, run.report("finished"))
    return run


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write which file became which (mode 0600): who has it can undo the pseudonyms."""
    with whole_file(path, private=True) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["source", "status", "reason", "file"])
        table.writerows([row.source, row.status, row.reason, row.file] for row in rows)


def _clean(path: Path, secret: Secret, options: Options) -> tuple[Cleaned, bool]:
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    if not start:
        raise ScanError(Reason.EMPTY_FILE, "the file is empty")
    if path.stat().st_size > BUDGET_BYTES:
        raise ScanError(Reason.OVER_BUDGET, f"larger than {BUDGET_BYTES} bytes")
    if looks_like_dicom(start):
        with path.open("rb") as file, quiet():
            dicom = parse_every_element(file)
            if start[128:] == b"DICM" or dicom.dataset.get("SOPClassUID"):
                recognisable = str(dicom.dataset.get("RecognizableVisualFeatures")) == "YES"
                return deidentify(dicom, secret, options), recognisable
    if path.name.lower().endswith(DICOM_NAMES):
        raise ScanError(Reason.NOT_DICOM, "no DICOM data although its name says so")
    raise ScanError(Reason.NOT_AN_IMAGE, "no DICOM object; not copied")


def _row(source: str, reason: str) -> Row:
    return Row(source, "ignored" if reason.startswith(IGNORED) else "refused", reason)


def _size(found: FoundFile) -> int:
    try:
        return 0 if found.reason else found.path.stat().st_size
    except OSError:
        return 0


def require_folders(source: Path, dest: Path, *, new_key: bool = False) -> None:
    """What can be told before there is a key, so that a wrong call makes none.

    Args:
        source, dest: As for `deidentify_folder`, which raises the same.
        new_key: Whether the key is yet to be made, so that no earlier run can have had it.
    """
    here, there = source.resolve(), dest.resolve()
    if here == there or there.is_relative_to(here) or here.is_relative_to(there):
        raise ConfigError("deidentify: DEST and SOURCE must not lie in each other")
    if not source.exists():
        raise SourceError(f"{source}: no such file or folder")
    require_writable(dest)
    if new_key and dest.exists() and any(dest.iterdir()):
        raise RefusedError(NOT_OURS.format(dest))


def _require_own(dest: Path, secret: Secret) -> None:
    """Check that a folder is new, empty, or the output of a run with this key."""
    if not dest.exists() or not any(dest.iterdir()):
        return
    try:
        record = json.loads((dest / REPORT).read_text(encoding="utf-8"))
        ours = isinstance(record, dict) and record.get("key_check") == secret.check
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise RefusedError(NOT_OURS.format(dest))
