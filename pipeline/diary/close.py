"""Closing a night: from what was scored to one row of the diary and its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.bundle import Bundle, open_bundle
from pipeline.diary.counted import counted
from pipeline.diary.labelled import calibration, labels_by_key, of_names
from pipeline.diary.night import Night, name_of, name_of_key, new_refs, outcomes_of, place_of
from pipeline.diary.night_shift import Checked, check_night
from pipeline.diary.page import render
from pipeline.diary.proposals import proposals
from pipeline.diary.record import Diary, Row, Seen
from pipeline.diary.spending import alpha_of
from pipeline.errors import PipelineError
from pipeline.learn.device import choose_device
from pipeline.model_record import ModelRecord, read_record
from pipeline.scan import SeriesRef
from pipeline.score.ledger import Ledger
from pipeline.score.outcome import Outcome
from pipeline.score.plan import LEDGER
from pipeline.score.scorer import run_key
from pipeline.shift.sides import Setting
from pipeline.workspace import whole_file


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What the diary looks at after scoring.

    Attributes:
        out: The output folder.
        bundle: The bundle.
        record: Its record.
        refs: Everything found below the incoming folder.
        done: Content key to outcome of everything the bundle ever scored here.
        setting: Seed, device, workspace, progress.
    """

    out: Path
    bundle: Bundle
    record: ModelRecord
    refs: Sequence[SeriesRef]
    done: Mapping[str, Outcome]
    setting: Setting

    @property
    def diary(self) -> Diary:
        """The diary of the output folder."""
        return Diary(self.out)

    def night(self, asked: str) -> Night:
        """What is new since the last row."""
        return new_refs(self.diary, self.refs, self.bundle.digest, asked)


def scored(out: Path, bundle: Path, refs: Sequence[SeriesRef], setting: Setting) -> Scored:
    """What lies in the ledger of a workspace for a bundle, its settings those of the bundle.

    Raises:
        BundleError: If the bundle is incomplete or altered.
    """
    opened = open_bundle(bundle)
    record = read_record(opened)
    key = run_key(opened.digest, choose_device(setting.config.device))
    done = Ledger(setting.workspace.root / LEDGER).done(key)
    own = record.config.model_copy(update={"device": setting.config.device})
    return Scored(out, opened, record, refs, done, replace(setting, config=own))


def shift_folder(out: Path, night: str) -> Path:
    """Where a night's shift page lies."""
    return out / "nights" / night


def close_night(found: Scored, asked: str, *, pull: Mapping[str, Any] | None = None) -> Row | None:
    """Compare the night with the reference and write its row, in place of an earlier one of the same night.

    What the earlier one counted and the folder no longer holds stays in the row, by its outcomes in the ledger.

    The row is the last thing written: a run that was killed before left none, and the next one closes the night.

    Returns:
        The row; None where nothing is settled that was not before.

    Raises:
        DiaryError: If the diary cannot be read.
    """
    night, diary = found.night(asked), found.diary
    settled = outcomes_of(night.refs, found.done)
    before = next((row for row in diary.rows() if row.key == (night.date, found.bundle.digest)), None)
    seen = diary.seen(before) if before is not None else {}
    if not settled or seen.keys() >= settled.keys():
        return None
    places = {place_of(ref) for ref in found.refs}
    away = {name: one for name, one in seen.items() if name not in settled and one.place and one.place not in places}
    waiting = sum(name_of(ref) not in settled for ref in night.refs)
    counting = [(ref.patient, outcome) for ref, outcome in settled.values()]
    counting += [("", outcome) for outcome in _moved_away(away, found)]
    row = counted(night.date, found.bundle.digest, counting, waiting, found.record)
    look = 1 + max((one.look for one in diary.rows() if one.bundle == found.bundle.digest), default=0)
    checked = check_night(
        found.bundle,
        found.record,
        [ref for ref, _ in settled.values()],
        found.setting,
        look=look,
        out=shift_folder(found.out, night.date),
    )
    row = replace(_with_test(row, checked, look, before), pull=dict(pull or {}))
    row = replace(row, proposals=proposals(row), calibration=before.calibration if before is not None else {})
    old = {name: one for name, one in seen.items() if name in away or not one.place}  # without what was replaced
    diary.put(row, old | {name: Seen(place_of(ref), one.status) for name, (ref, one) in settled.items()})
    return row


def _moved_away(away: Mapping[str, Seen], found: Scored) -> list[Outcome]:
    """Outcomes of what an earlier row of the night counted and the folder no longer holds.

    The ledger has those of scans; a file that was refused or ignored before counts as that.
    """
    by_name = {name_of_key(key): outcome for key, outcome in found.done.items()}
    known = [by_name[name] for name in sorted(away.keys() & by_name.keys())]
    rest = [one.status for name, one in sorted(away.items()) if name not in by_name]
    if left := rest.count("scored"):
        found.setting.watch.note(
            f"{left} scans of the night were moved away, and this ledger does not have their scores"
        )
    return known + [Outcome(status) for status in ("refused", "ignored") for _ in range(rest.count(status))]


def _with_test(row: Row, checked: Checked, look: int, before: Row | None) -> Row:
    """The row with its test; an earlier look at the same night has spent its own alpha, and its alarm stays.

    It stands as a whole where what is there by now is too little for another one.
    """
    shares = {**row.shares, "abnormal": {**row.shares["abnormal"], "expected": checked.expected.get("value")}}
    row = replace(row, shift=checked.shift, shares=shares)
    alarm = before is not None and before.alarm
    p = checked.shift.get("p")
    if p is None and before is not None and before.p is not None:
        return replace(row, shift=before.shift, look=before.look, alpha=before.alpha, p=before.p, alarm=alarm)
    if p is None:
        return replace(row, look=before.look if before else 0, alarm=alarm)
    alpha = alpha_of(look)
    return replace(row, look=look, alpha=alpha, p=p, alarm=alarm or p <= alpha)


def add_labels(found: Scored, path: Path) -> int:
    """Measure the calibration of every night of the bundle whose scans have labels by now.

    Figures of more scans stand where fewer are there by now, as when scans were moved away.

    Returns:
        Number of nights whose figures changed; a labels.csv that cannot be used is told, and changes nothing.
    """
    watch = found.setting.watch
    try:
        labels = labels_by_key(path, found.record, found.setting.workspace, watch)
    except PipelineError as error:
        watch.note(f"labels are left out: {error}")
        return 0
    keys = {name_of_key(key): key for key in labels}
    changed = 0
    for row in found.diary.rows():
        if row.bundle != found.bundle.digest:
            continue
        own = {keys[name] for name in found.diary.names(row) & keys.keys()}
        told = of_names(labels, {key: found.done[key] for key in own if key in found.done})
        figures = calibration(told, found.record) if told else row.calibration
        if figures != row.calibration and figures["scans"] >= row.calibration.get("scans", 0):
            found.diary.put(replace(row, calibration=figures))
            changed += 1
    return changed


def write_page(diary: Diary) -> str:
    """Write `diary.html`, if it is older than the rows; the path of it, empty without rows."""
    if diary.stale_page():
        with whole_file(diary.page) as file:
            file.write(render(diary.rows()))
    return str(diary.page) if diary.page.exists() else ""
