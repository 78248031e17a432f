"""`scanshift doctor`: every check one line; exit 1 where something is broken."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.doctor_options import CHECKS
from flows.exit_codes import DONE, FAILED
from flows.settings import configure_prefect
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.doctor.finding import Finding


def doctor(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift doctor`."""
    found: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="doctor-") as scratch:
        for finding in _findings(options, Path(scratch)):
            found.append(finding)
            if not options.json:  # told as they come: some take half a minute
                sys.stdout.write(f"{finding.line}\n")
                sys.stdout.flush()
    broken = sum(finding.level == "broken" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    return {
        "checks": [asdict(finding) for finding in found],
        "broken": broken,
        "warnings": warnings,
        "exit": FAILED if broken else DONE,
        "lines": [f"{len(found)} checks, {broken} broken, {warnings} warnings"],
    }


def _findings(options: argparse.Namespace, scratch: Path) -> "Iterator[Finding]":
    environment = dict(os.environ)
    configure_prefect(scratch / "prefect")
    space = Workspace(options.workspace) if options.workspace else None
    checks = _checks(space, scratch)
    for name in CHECKS:
        if name in (options.only or CHECKS):
            yield checks[name]()
    if options.offline:
        from flows.doctor_offline import check_offline

        yield check_offline(environment)


def _checks(space: Workspace | None, scratch: Path) -> "dict[str, Callable[[], Finding]]":
    from flows.doctor_prefect import check_scheduler, check_server, check_settings
    from pipeline.doctor.accelerator import check_accelerator
    from pipeline.doctor.clock import check_clock
    from pipeline.doctor.database import check_database
    from pipeline.doctor.decoders import check_decoders
    from pipeline.doctor.disk import check_disk
    from pipeline.doctor.packages import check_packages
    from pipeline.doctor.weights import check_pretrained
    from pipeline.learn.network import weights_folder

    there = space.root if space and space.root.is_dir() else None
    url = (space or Workspace(scratch)).catalog_url
    return {
        "packages": check_packages,
        "weights": lambda: check_pretrained(weights_folder()),
        "decoders": check_decoders,
        "accelerator": check_accelerator,
        "disk": lambda: check_disk(space or Workspace(scratch)),
        "database": lambda: check_database(space),
        "clock": lambda: check_clock(there, "" if url.startswith("sqlite") else url),
        "prefect-settings": check_settings,
        "prefect-server": check_server,
        "prefect-scheduler": check_scheduler,
    }
