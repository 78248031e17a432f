"""The first step of scoring: what is there, what of it is still arriving, and what is not scored yet."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.bundle import open_bundle
from pipeline.errors import SourceError
from pipeline.ingest.archives import workspace_archives
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.facts import FileFacts
from pipeline.ingest.scan_folder import scan_sources
from pipeline.ingest.stamp import Settling
from pipeline.learn.device import choose_device
from pipeline.model_record import read_record
from pipeline.scan import SeriesRef
from pipeline.score.ledger import Ledger
from pipeline.score.place import Share
from pipeline.score.ref_file import read_refs, write_refs
from pipeline.score.scorer import pending, run_key
from pipeline.score.share import listing_of
from pipeline.watch import Watch
from pipeline.workspace import Workspace, require_space

LEDGER = "ledger.jsonl"
PLAN = "plan.json"
SHARD_SERIES = 512
BYTES_PER_SERIES = 4096


@dataclass(frozen=True, slots=True)
class ScorePlan:
    """What a scoring run would do.

    Attributes:
        ledger: The ledger of finished series.
        run_key: What the ledger keys this bundle by.
        refs: Everything found below the folder that has arrived and is this machine's.
        todo: Series to score; the rest is done, refused or ignored.
        arriving: How many series and files wait for the next run.
        listing: A hash of all that was found; empty where one machine scores the folder.
    """

    ledger: Ledger
    run_key: str
    refs: tuple[SeriesRef, ...]
    todo: tuple[SeriesRef, ...]
    arriving: int = 0
    listing: str = ""

    def counts(self) -> dict[str, int]:
        """How many rows would be scored now, are done, refused, ignored or, where there are any, arriving."""
        done = sum(ref.status == "ok" for ref in self.refs) - len(self.todo)
        counts = {"to score": len(self.todo), "done before or twice": done}
        counts |= {status: sum(ref.status == status for ref in self.refs) for status in ("refused", "ignored")}
        return counts | ({"arriving": self.arriving} if self.arriving else {})


class _SecondLook(Catalog):
    """A catalogue that does not remember what was refused, so that it is judged again."""

    def known(self, paths: Sequence[str]) -> dict[str, FileFacts]:
        return {path: facts for path, facts in super().known(paths).items() if facts.status != "refused"}


def plan_scores(
    folder: Path,
    bundle: Path,
    state: Workspace,
    *,
    device: str,
    watch: Watch,
    archives: bool = False,
    settle: float = 0,
    retry: bool = False,
    share: Share | None = None,
) -> ScorePlan:
    """Find the series below a folder, or in a zip archive, and which of them are not scored yet.

    Args:
        folder: Folder or archive.
        bundle: The bundle's folder.
        state: Where ledger and catalogue are kept.
        device: Where the network will run.
        watch: Told the progress.
        archives: Whether archives in folders are opened, too.
        settle: Seconds for which a file must have lain still; series with a younger one wait for the next run.
        retry: Whether series that earlier runs refused are judged again.
        share: This machine's; None where it scores the folder alone.

    Raises:
        SourceError: If the folder is missing, unreadable or empty.
        BundleError: If the bundle is incomplete or altered.
        DiskSpaceError: If the results would not fit.
    """
    opened = open_bundle(bundle)
    read_record(opened)
    key = run_key(opened.digest, choose_device(device))
    with contextlib.closing((_SecondLook if retry else Catalog)(state.catalog_url)) as catalog:
        places = workspace_archives(state, everywhere=archives)
        progress = watch.count("reading headers", 0)
        found = scan_sources([folder], catalog=catalog, progress=progress, archives=places)
    if not found:  # such as a share that is not mounted; an earlier scores.csv stays
        raise SourceError(f"{folder}: nothing found to score")
    own = [ref for ref in found if share is None or share.holds(ref)]
    settling = Settling(settle, time.time_ns(), f"{places.folder}/")
    refs = tuple(ref for ref in own if not settling.arriving(ref))
    ledger = Ledger(state.root / LEDGER)
    require_space(state.root, BYTES_PER_SERIES * len(refs))
    todo = tuple(pending(refs, ledger, key, retry=retry))
    return ScorePlan(ledger, key, refs, todo, len(own) - len(refs), listing_of(found) if share else "")


def write_plan(plan: ScorePlan, run: Path) -> list[Path]:
    """Write the plan, and the series to score as shards of 512, into a run's folder (mode 0600).

    Marks beside the shards of an earlier plan in the same folder, as `serve` has one for all nights, are removed:
    nothing of the new shards stands before the ledger's end of now.

    Returns:
        The shards' paths; tasks get these, not scans.
    """
    for mark in run.glob("shard-*.began*"):
        mark.unlink(missing_ok=True)
    write_refs(run / PLAN, plan.refs, run_series=0, arriving=plan.arriving, listing=plan.listing)
    paths: list[Path] = []
    for n in range(0, len(plan.todo), SHARD_SERIES):
        paths.append(run / f"shard-{n // SHARD_SERIES:05d}.json")
        write_refs(paths[-1], plan.todo[n : n + SHARD_SERIES], run_series=len(plan.todo))
    return paths


def planned(run: Path) -> list[SeriesRef]:
    """Everything that a run found, as `write_plan` wrote it."""
    return list(read_refs(run / PLAN))
