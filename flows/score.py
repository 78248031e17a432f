"""The score flow: find series, score them shard by shard, write scores.csv."""

import contextlib
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import publish_counts
from flows.dask_cluster import score_on_cluster
from flows.progress import make_watch
from flows.request import Request, read_request
from flows.retry import SHARD_DELAYS, retried_task
from flows.seal import failure_logged, sealed
from flows.work_pool import score_on_pool
from pipeline.registry.approved import choose_bundle, chosen_bundle
from pipeline.score.folder import finish, plan_scores, score_shard, sole_run, write_plan
from pipeline.score.place import Share, parse_share


def share_of(asked: Request) -> Share | None:
    """This machine's share of the folder; None where it scores it alone."""
    text = asked.options.get("shard", "")
    return parse_share(text) if text else None


def run_lock(request: str) -> contextlib.ExitStack:
    """Take the locks of the run, for as long as the stack stays open."""
    asked = read_request(request)
    locks = contextlib.ExitStack()
    locks.enter_context(sole_run(asked.space, Path(asked.out), share_of(asked)))
    return locks


def run_find(request: str) -> list[str]:
    """Find the series, write what is to be scored as shard files, and return their paths."""
    asked = read_request(request)
    watch = make_watch(run=Path(asked.run))
    device = asked.options["device"]
    folder, archives = Path(asked.sources[0]), bool(asked.options.get("archives"))
    bundle = choose_bundle(asked.space, asked.bundle, Path(asked.run), watch)
    choice = {"settle": asked.options.get("settle", 0), "retry": asked.options.get("retry", False)}
    plan = plan_scores(
        folder, bundle, asked.space, device=device, watch=watch, archives=archives, share=share_of(asked), **choice
    )
    watch.note(", ".join(f"{count} {what}" for what, count in plan.counts().items()))
    return [str(path) for path in write_plan(plan, Path(asked.run))]


def run_shard(request: str, shard: str) -> dict[str, int]:
    """Score one shard into the ledger."""
    asked = read_request(request)
    return score_shard(
        Path(shard),
        chosen_bundle(asked.bundle, Path(asked.run)),
        asked.space,
        device=asked.options["device"],
        engine=asked.options.get("engine", ""),
        watch=make_watch(run=Path(asked.run)),
        title=f"scoring {Path(shard).stem}",
    )


def run_elsewhere(request: str, shards: list[str]) -> dict[str, int]:
    """Score all shards into the ledger on the Dask cluster or the work pool that the request names."""
    asked = read_request(request)
    return (score_on_cluster if asked.options.get("dask") else score_on_pool)(asked, shards)


def goes_elsewhere(request: str) -> bool:
    """Whether other processes are to score."""
    options = read_request(request).options
    return bool(options.get("dask") or options.get("work_pool"))


def run_finish(request: str) -> dict[str, Any]:
    """Write scores.csv, and heat-maps and DICOM results where they are asked for."""
    asked = read_request(request)
    return finish(
        Path(asked.run),
        asked.space,
        chosen_bundle(asked.bundle, Path(asked.run)),
        Path(asked.out),
        device=asked.options["device"],
        heatmaps=asked.options["heatmaps"],
        dicom_maps=asked.options.get("dicom_maps", "none"),
        dicom_results=asked.options.get("dicom_results", False),
        watch=make_watch(run=Path(asked.run)),
        share=share_of(asked),
    )


find_task = task(name="find-series", cache_policy=NO_CACHE)(sealed(run_find))
shard_task = retried_task("score-shard", run_shard, SHARD_DELAYS)
elsewhere_task = task(name="score-elsewhere", cache_policy=NO_CACHE)(sealed(run_elsewhere))
finish_task = task(name="write-scores", cache_policy=NO_CACHE)(sealed(run_finish))


def score_shards(request: str, shards: list[str]) -> None:
    """Score all shards, here one after the other, or where the request says; part of a flow."""
    if sealed(goes_elsewhere)(request):
        elsewhere_task(request, shards)
        return
    for shard in shards:
        shard_task(request, shard)


@flow(name="scanshift-score")
def score_flow(request: str) -> dict[str, Any]:
    """Score every series below a folder as a request file says; one unreadable series does not stop the rest.

    Args:
        request: Path of the request file inside the workspace.
    """
    with failure_logged(request), sealed(run_lock)(request):
        score_shards(request, find_task(request))
        result: dict[str, Any] = finish_task(request)
    publish_counts("scanshift-score", "Rows of scores.csv", result["counts"])
    return result
