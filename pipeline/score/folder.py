"""Scoring a folder from start to end; the flow runs these steps as tasks."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.bundle import open_bundle
from pipeline.errors import SourceError
from pipeline.ingest.archives import workspace_archives
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.device import choose_device
from pipeline.model_record import ModelRecord, read_record
from pipeline.scan import SeriesRef
from pipeline.score.engines.for_run import choose_for
from pipeline.score.folder_notice import copies_notice, folder_notice, referrals_notice
from pipeline.score.ledger import Ledger
from pipeline.score.maps.kinds import DicomMaps
from pipeline.score.origin import Origin
from pipeline.score.outcome import Outcome
from pipeline.score.scorer import load_scorer, pending, run_key, score_series
from pipeline.score.table import write_scores
from pipeline.watch import Watch
from pipeline.workspace import Workspace, exclusive, require_space, whole_file

SHARD_SERIES = 512
BYTES_PER_SERIES = 4096
STATE = ".scanshift"
LEDGER = "ledger.jsonl"
PLAN = "plan.json"
RESULTS = "dicom"


@dataclass(frozen=True, slots=True)
class ScorePlan:
    """What a scoring run would do.

    Attributes:
        ledger: The ledger of finished series.
        run_key: What the ledger keys this bundle by.
        refs: Everything found below the folder.
        todo: Series to score; the rest is done, refused or ignored.
    """

    ledger: Ledger
    run_key: str
    refs: tuple[SeriesRef, ...]
    todo: tuple[SeriesRef, ...]

    def counts(self) -> dict[str, int]:
        """How many rows would be scored now, are done, refused or ignored."""
        done = sum(ref.status == "ok" for ref in self.refs) - len(self.todo)
        counts = {"to score": len(self.todo), "done before or twice": done}
        return counts | {status: sum(ref.status == status for ref in self.refs) for status in ("refused", "ignored")}


def state_folder(out: Path, workspace: Path | None) -> Workspace:
    """Where a run keeps its state: the workspace, or a hidden folder in the output."""
    return Workspace(workspace if workspace is not None else out / STATE)


@contextlib.contextmanager
def sole_run(state: Workspace, out: Path) -> Iterator[None]:
    """Hold the locks of a run's state and of its output, which another run with another workspace may share.

    Raises:
        BusyError: If another process holds one of them.
    """
    with contextlib.ExitStack() as locks:
        for folder in dict.fromkeys((state.root.resolve(), (out / STATE).resolve())):
            locks.enter_context(exclusive(folder))
        yield


def plan_scores(
    folder: Path, bundle: Path, state: Workspace, *, device: str, watch: Watch, archives: bool = False
) -> ScorePlan:
    """Find the series below a folder, or in a zip archive, and which of them are not scored yet.

    Raises:
        SourceError: If the folder is missing, unreadable or empty.
        BundleError: If the bundle is incomplete or altered.
        DiskSpaceError: If the results would not fit.
    """
    opened = open_bundle(bundle)
    read_record(opened)
    key = run_key(opened.digest, choose_device(device))
    with contextlib.closing(Catalog(state.catalog_url)) as catalog:
        places = workspace_archives(state, everywhere=archives)
        progress = watch.count("reading headers", 0)
        refs = scan_sources([folder], catalog=catalog, progress=progress, archives=places)
    if not refs:  # such as a share that is not mounted; an earlier scores.csv stays
        raise SourceError(f"{folder}: nothing found to score")
    ledger = Ledger(state.root / LEDGER)
    require_space(state.root, BYTES_PER_SERIES * len(refs))
    return ScorePlan(ledger, key, tuple(refs), tuple(pending(refs, ledger, key)))


def write_plan(plan: ScorePlan, run: Path) -> list[Path]:
    """Write the plan, and the series to score as shards of 512, into a run's folder (mode 0600).

    Returns:
        The shards' paths; tasks get these, not scans.
    """
    _save(run / PLAN, plan.refs)
    paths: list[Path] = []
    for n in range(0, len(plan.todo), SHARD_SERIES):
        paths.append(run / f"shard-{n // SHARD_SERIES:05d}.json")
        _save(paths[-1], plan.todo[n : n + SHARD_SERIES], run_series=len(plan.todo))
    return paths


def score_shard(
    shard: Path, bundle: Path, state: Workspace, *, device: str, engine: str = "", watch: Watch, title: str = ""
) -> dict[str, int]:
    """Score the series of a shard into the ledger.

    Args:
        shard: Its file.
        bundle: The bundle's folder.
        state: Where ledger and engines are kept.
        device: Where the network runs.
        engine: What runs it, see `pipeline.score.engines`; empty takes the bundle's word.
        watch: Told the progress and which engine was chosen.
        title: Of the progress.

    Returns:
        Status to number of series.

    Raises:
        EngineError: If an engine that was asked for by name cannot be used here.
    """
    scorer = load_scorer(bundle, choose_device(device))
    ledger = Ledger(state.root / LEDGER)
    refs, series = _load(shard)
    todo = pending(refs, ledger, scorer.run_key)
    if not todo:
        return {}
    kept = ledger.engine(scorer.run_key)
    asked = engine or scorer.record.config.engine
    chosen = choose_for(scorer, todo, asked, state.cache, kept=kept, series=series)
    if chosen.note:
        watch.note(chosen.note)
    scorer.runner.engine = chosen
    return dict(score_series(scorer, todo, ledger, watch.bar(title or "scoring", len(refs))))


def finish(
    run: Path,
    state: Workspace,
    bundle: Path,
    out: Path,
    *,
    device: str,
    heatmaps: bool,
    watch: Watch,
    dicom_maps: DicomMaps = "none",
    dicom_results: bool = False,
) -> dict[str, Any]:
    """Write scores.csv from the ledger; on request a heat-map of every scan called abnormal, and results as DICOM.

    A scan that is referred has a heat-map where the policy alone would call it abnormal.

    Args:
        dicom_maps: Which DICOM object is written beside each heat-map.
        dicom_results: Whether each scored DICOM series gets a structured report.

    Returns:
        `scores`, the file; `counts`, status to number of rows; `heatmaps` and `dicom_results`, their folders or empty;
        `notice`, what speaks against the scores as a whole, or empty.
    """
    opened = open_bundle(bundle)
    refs, _ = _load(run / PLAN)
    done = Ledger(state.root / LEDGER).done(run_key(opened.digest, choose_device(device)))
    record = read_record(opened)
    counts = write_scores(out / "scores.csv", refs, done, record, opened.digest)
    found = {ref.key: done[ref.key] for ref in refs if ref.key in done}
    notices = [folder_notice(found.values()) if record.detector is not None else "", copies_notice(found.values())]
    notices.append(referrals_notice(found.values()))
    for notice in filter(None, notices):
        watch.note(notice)
    if dicom_results:
        scored = [(ref, done[ref.key]) for ref in refs if ref.key in done and done[ref.key].status == "scored"]
        _write_results(record, scored, out / RESULTS, Origin(opened.digest, state.key()), watch)
    if heatmaps:
        from pipeline.score.maps.of_bundle import write_heatmaps  # MONAI and highdicom take seconds to import

        called = [(ref, done[ref.key]) for ref in refs if ref.key in done and done[ref.key].abnormal]
        scorer = load_scorer(bundle, choose_device(device))
        bar = watch.bar("heat-maps", len(called))
        rows = write_heatmaps(scorer, called, out / "heatmaps", state.key(), dicom=dicom_maps, progress=bar)
        if missing := sum(bool(row.note) for row in rows):
            watch.note(f"{missing} of {len(rows)} heat-maps lack a file; heatmaps/index.csv says why")
    return {
        "scores": str(out / "scores.csv"),
        "counts": counts,
        "heatmaps": str(out / "heatmaps") if heatmaps else "",
        "dicom_results": str(out / RESULTS) if dicom_results else "",
        "notice": ". ".join(filter(None, notices)),
    }


def _write_results(
    record: ModelRecord, scored: list[tuple[SeriesRef, Outcome]], out: Path, origin: Origin, watch: Watch
) -> None:
    """Write structured reports, and tell in a line each how many series have none, and why."""
    from pipeline.score.results.write import ResultWriter  # highdicom takes seconds to import

    rows = ResultWriter(record, out, origin).write(scored, watch.bar("DICOM results", len(scored)))
    if other := sum(ref.format != "dicom" for ref, _ in scored):
        watch.note(f"{other} of {len(rows)} scored series are not DICOM and have no DICOM result")
    if missing := sum(not row.file for row in rows) - other:
        watch.note(f"{missing} of {len(rows)} scored series lack a DICOM result; {RESULTS}/index.csv says why")


def score_folder(
    folder: Path, bundle: Path, out: Path, *, device: str = "auto", engine: str = "", watch: Watch | None = None
) -> dict[str, Any]:
    """Score every series below a folder into `out/scores.csv`, going on where an earlier run stopped."""
    state = state_folder(out, None).open()
    watch = watch or Watch()
    with sole_run(state, out):
        run = state.run_folder("score")
        plan = plan_scores(folder, bundle, state, device=device, watch=watch)
        for shard in write_plan(plan, run):
            score_shard(shard, bundle, state, device=device, engine=engine, watch=watch)
        return finish(run, state, bundle, out, device=device, heatmaps=False, watch=watch)


def planned(run: Path) -> list[SeriesRef]:
    """Everything that a run found, as `write_plan` wrote it."""
    return _load(run / PLAN)[0]


def _save(path: Path, refs: tuple[SeriesRef, ...], run_series: int = 0) -> None:
    with whole_file(path, private=True) as file:
        json.dump({"run_series": run_series, "series": [asdict(ref) for ref in refs]}, file)


def _load(path: Path) -> tuple[list[SeriesRef], int]:
    """Series of a file that `_save` wrote, and how many the whole run has to score."""
    record = json.loads(path.read_text(encoding="utf-8"))
    refs = [SeriesRef(**{**r, "files": tuple(r["files"]), "shape": tuple(r["shape"])}) for r in record["series"]]
    return refs, int(record["run_series"])
