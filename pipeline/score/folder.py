"""Scoring a folder from start to end; the flow runs these steps as tasks."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from models.bundle import open_bundle
from models.errors import BundleError
from pipeline.learn.device import choose_device
from pipeline.model_record import ModelRecord, read_record
from pipeline.scan import SeriesRef
from pipeline.score.engines.choose import AUTO
from pipeline.score.engines.for_run import choose_for
from pipeline.score.folder_notice import copies_notice, folder_notice, referrals_notice
from pipeline.score.ledger import Ledger
from pipeline.score.maps.kinds import DicomMaps
from pipeline.score.origin import Origin
from pipeline.score.outcome import Outcome
from pipeline.score.place import RESULTS, STATE, Share, state_folder
from pipeline.score.plan import LEDGER, PLAN, ScorePlan, plan_scores, planned, write_plan
from pipeline.score.ref_file import read_refs
from pipeline.score.scorer import Scorer, load_scorer, pending, run_key, score_series
from pipeline.score.share import begin, join_if_complete
from pipeline.score.table import remove_torn, write_scores
from pipeline.watch import Watch
from pipeline.workspace import Workspace, exclusive

__all__ = ["PLAN", "ScorePlan", "plan_scores", "planned", "write_plan"]  # the first step, beside the others

HELLO = "hello"  # a word in the state folder, by which other processes know the run that they help
SCORES = "scores.csv"
HEATMAPS = "heatmaps"
SHARDS_WAIT_SECONDS = 5.0


@contextlib.contextmanager
def sole_run(state: Workspace, out: Path, share: Share | None = None) -> Iterator[None]:
    """Hold the locks of a run's state and of its output, which another run with another workspace may share.

    Machines that share an output hold each its own lock, and a run that scores the folder alone holds them all.
    Processes that still help an earlier run, whose command was killed, stop at their next chunk.

    Raises:
        BusyError: If another process holds one of them.
    """
    own = [out / STATE, *sorted((out / STATE).glob("shard-*"))] if share is None else [share.state(out)]
    with contextlib.ExitStack() as locks:
        for folder in dict.fromkeys(path.resolve() for path in (state.root, *own)):
            locks.enter_context(exclusive(folder))
        (state.root / HELLO).unlink(missing_ok=True)
        if share is None:
            remove_torn(out / SCORES)
        else:
            with exclusive(out / STATE, timeout=SHARDS_WAIT_SECONDS):  # no run scores the folder alone just now
                begin(share, out)
        yield


def score_shard(
    shard: Path,
    bundle: Path,
    state: Workspace,
    *,
    device: str,
    engine: str = "",
    kept: str = "",
    watch: Watch,
    title: str = "",
    part: str = "",
) -> dict[str, int]:
    """Score the series of a shard into the ledger.

    Args:
        shard: Its file.
        bundle: The bundle's folder.
        state: Where ledger and engines are kept.
        device: Where the network runs.
        engine: What runs it, see `pipeline.score.engines`; empty takes the bundle's word.
        kept: What scores other shards of the run, which is taken where it can be and nothing is asked for by name.
        watch: Told the progress and which engine was chosen.
        title, part: Of the progress; of the ledger, where several processes score at the same time.

    Returns:
        Status to number of series.

    Raises:
        EngineError: If an engine that was asked for by name cannot be used here.
    """
    scorer = _scorer_of(
        shard.parent, bundle, open_bundle(bundle).digest, choose_device(device), engine, threading.get_ident()
    )
    ledger = Ledger(state.root / LEDGER, part)
    refs = read_refs(shard)
    todo = pending(refs, ledger, scorer.run_key, since=ledger.begin(shard))
    if not todo:
        return {}
    if scorer.runner.engine.run is None:
        asked = engine or scorer.record.config.engine
        kept = kept or (ledger.engine(scorer.run_key) if asked == AUTO else "")
        chosen = choose_for(scorer, todo, asked, state.cache, kept=kept, series=refs.about["run_series"])
        if chosen.note:
            watch.note(chosen.note)
        scorer.runner.engine = chosen
    return dict(score_series(scorer, todo, ledger, watch.bar(title or "scoring", len(todo))))


@functools.lru_cache(maxsize=1)
def _scorer_of(_run: Path, bundle: Path, digest: str, device: torch.device, _engine: str, _thread: int) -> Scorer:
    """What the shards of a run share, since loading it and compiling its engine takes seconds.

    Each thread has its own: networks keep what they compute in themselves while they run.
    """
    scorer = load_scorer(bundle, device)
    if scorer.digest != digest:
        raise BundleError("the bundle changed while it was opened")
    return scorer


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
    share: Share | None = None,
) -> dict[str, Any]:
    """Write scores.csv from the ledger; on request a heat-map of every scan called abnormal, and results as DICOM.

    A scan that is referred has a heat-map where the policy alone would call it abnormal.

    Args:
        dicom_maps: Which DICOM object is written beside each heat-map.
        dicom_results: Whether each scored DICOM series gets a structured report.
        share: This machine's; its files have its name, and scores.csv is written when all machines are done.

    Returns:
        `scores`, the file; `counts`, status to number of rows, and `arriving`, what waits for the next run; `heatmaps`
        and `dicom_results`, their folders or empty; `notice`, what speaks against the scores as a whole, or empty;
        `joined`, the table of all machines, or empty.
    """
    _scorer_of.cache_clear()
    opened = open_bundle(bundle)
    refs = read_refs(run / PLAN)
    done = Ledger(state.root / LEDGER).results(run_key(opened.digest, choose_device(device)))
    record = read_record(opened)
    table, maps, results = _names(out, share)
    counts = write_scores(table, refs, done, record, opened.digest)
    counts |= {"arriving": refs.about["arriving"]} if refs.about["arriving"] else {}
    found = {ref.key: done[ref.key] for ref in refs if ref.key in done}
    notices = [folder_notice(found.values()) if record.detector is not None else "", copies_notice(found.values())]
    notices.append(referrals_notice(found.values()))
    joined = ""
    if share is not None:
        is_whole = all(ref.status != "ok" or ref.key in done for ref in refs)
        joined, notice = join_if_complete(share, out, opened.digest, listing=refs.about["listing"], is_whole=is_whole)
        notices.append(notice)
    for notice in filter(None, notices):
        watch.note(notice)
    if dicom_results:
        scored = [(ref, done[ref.key]) for ref in refs if ref.key in done and done[ref.key].status == "scored"]
        _write_results(record, scored, results, Origin(opened.digest, state.key()), watch)
    if heatmaps:
        from pipeline.score.maps.of_bundle import write_heatmaps  # MONAI and highdicom take seconds to import

        called = [(ref, done[ref.key]) for ref in refs if ref.key in done and done[ref.key].abnormal]
        scorer = load_scorer(bundle, choose_device(device))
        bar = watch.bar("heat-maps", len(called))
        rows = write_heatmaps(scorer, called, maps, state.key(), dicom=dicom_maps, progress=bar)
        if missing := sum(bool(row.note) for row in rows):
            watch.note(f"{missing} of {len(rows)} heat-maps lack a file; {maps.name}/index.csv says why")
    return {
        "scores": str(table),
        "counts": counts,
        "heatmaps": str(maps) if heatmaps else "",
        "dicom_results": str(results) if dicom_results else "",
        "notice": ". ".join(filter(None, notices)),
        "joined": joined,
    }


def _names(out: Path, share: Share | None) -> tuple[Path, Path, Path]:
    """A run's table, and its folders of heat-maps and of DICOM results."""
    if share is None:
        return out / SCORES, out / HEATMAPS, out / RESULTS
    return share.table(out), out / f"{HEATMAPS}-{share.name}", out / f"{RESULTS}-{share.name}"


def _write_results(
    record: ModelRecord, scored: list[tuple[SeriesRef, Outcome]], out: Path, origin: Origin, watch: Watch
) -> None:
    """Write structured reports, and tell in a line each how many series have none, and why."""
    from pipeline.score.results.write import ResultWriter  # highdicom takes seconds to import

    rows = ResultWriter(record, out, origin).write(scored, watch.bar("DICOM results", len(scored)))
    if other := sum(ref.format != "dicom" for ref, _ in scored):
        watch.note(f"{other} of {len(rows)} scored series are not DICOM and have no DICOM result")
    if missing := sum(not row.file for row in rows) - other:
        watch.note(f"{missing} of {len(rows)} scored series lack a DICOM result; {out.name}/index.csv says why")


def score_folder(
    folder: Path,
    bundle: Path,
    out: Path,
    *,
    device: str = "auto",
    engine: str = "",
    watch: Watch | None = None,
    settle: float = 0,
    retry: bool = False,
    share: Share | None = None,
) -> dict[str, Any]:
    """Score every series below a folder into `out/scores.csv`, going on where an earlier run stopped.

    Args:
        folder: Folder, or zip archive.
        bundle: The bundle's folder.
        out: Where results go; the state lies in it, hidden.
        device: Where the network runs.
        engine: See `score_shard`.
        watch: Told the progress.
        settle, retry, share: See `plan_scores`.
    """
    state = state_folder(out, None, share).open()
    watch = watch or Watch()
    with sole_run(state, out, share):
        run = state.run_folder("score")
        plan = plan_scores(folder, bundle, state, device=device, watch=watch, settle=settle, retry=retry, share=share)
        shards = write_plan(plan, run)
        del plan  # its series are in files by now
        for shard in shards:
            score_shard(shard, bundle, state, device=device, engine=engine, watch=watch)
        return finish(run, state, bundle, out, device=device, heatmaps=False, watch=watch, share=share)
