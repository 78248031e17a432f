"""`scanshift nightly` and `scanshift serve`: from their arguments to the nightly flow's request."""

import argparse
import sys
from dataclasses import replace
from datetime import date
from typing import Any

from flows.request import Request
from flows.run import run_flow
from flows.tools import count_line
from pipeline.errors import ConfigError, SourceError


def nightly_request(options: argparse.Namespace, request: Request) -> Request:
    """The request of a night, from that of a scoring run.

    Raises:
        SourceError: If labels are named that are not there.
        ConfigError: If the night is no date, or the pull's address or query makes no sense.
    """
    from flows.pull_recent import recent
    from pipeline.diary.night import iso_date
    from pipeline.pacs.sources import check_address

    if options.labels is not None and not options.labels.is_file():
        raise SourceError(f"{options.labels}: no such file")
    if options.report_url and not options.report_url.startswith(("http://", "https://")):
        raise ConfigError(f"--report-url {options.report_url}: http://... or https://... would be right")
    night = iso_date(options.night) if getattr(options, "night", "") else ""
    pull = {}
    if options.pull:
        if not options.folder.is_dir():
            raise SourceError(f"{options.folder}: --pull needs a folder to fetch into")
        try:
            check_address(options.pull)
        except ConfigError as error:
            raise ConfigError(str(error).replace("--from:", "--pull:")) from None
        recent(night or date.today().isoformat(), options.pull_days, options.pull_modality)
        pull = {"url": options.pull, "days": options.pull_days, "modality": options.pull_modality, "aet": options.aet}
    more = {
        "night": night,
        "timezone": getattr(options, "timezone", ""),
        "labels": str(options.labels.absolute()) if options.labels else "",
        "report_url": options.report_url,
        "pull": pull,
    }
    return replace(request, verb="nightly", options={**request.options, **more})


def nightly(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift nightly`."""
    from flows.commands import score_request

    result = run_flow("flows.nightly", "nightly_flow", nightly_request(options, score_request(options)))
    diary = [f"diary: {result['diary']}"] if result["diary"] else []
    if result["told"]:
        result["lines"] = [*diary, result["told"]]
        return result
    proposed = [f"proposed: {line}" for line in result["proposals"]]
    result["lines"] = [f"scores: {result['scores']}", *diary, *proposed, count_line(result["counts"])]
    return result


def serve(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift serve`."""
    from flows.commands import score_request
    from flows.serve import serve_nightly
    from flows.summer_time import clock_warning

    request = nightly_request(options, score_request(options))
    if warning := clock_warning(options.cron, options.timezone):
        sys.stderr.write(f"warning: {warning}\n")
    serve_nightly(request, cron=options.cron, timezone=options.timezone, port=options.port)
    return {"lines": ["stopped"]}
