"""The commands that need no flow: convert, labels, backbones, weights, workspace."""

import argparse
from collections.abc import Mapping
from typing import Any

from flows.exit_codes import DONE, FAILED
from flows.progress import make_watch
from models.errors import ModelError
from pipeline.errors import ConfigError, SourceError
from pipeline.workspace import Workspace


def count_line(counts: Mapping[str, int]) -> str:
    """Counts as a line, such as `2 refused, 24 scored`."""
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing found"


def convert(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift convert`."""
    from pipeline.ingest.archives import passing_archives
    from pipeline.ingest.convert import convert as convert_series
    from pipeline.ingest.scan_folder import scan_sources

    watch = make_watch(options.json)
    with passing_archives(everywhere=options.archives) as archives:
        progress = watch.count("reading headers", 0)
        refs = scan_sources(options.sources, progress=progress, archives=archives, hashed=False)
        rows = convert_series(refs, options.out)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    table = options.out / "series.csv"
    return {"series": str(table), "counts": counts, "lines": [f"series: {table}", count_line(counts)]}


def labels(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift labels`."""
    from pipeline.ingest.archives import passing_archives
    from pipeline.ingest.scan_folder import scan_sources
    from pipeline.prepare.template import write_template

    progress = make_watch(options.json).count("reading headers", 0)
    with passing_archives(everywhere=options.archives) as archives:
        refs = scan_sources([options.folder], progress=progress, archives=archives, hashed=False)
    found = write_template(options.folder, options.out, refs)
    return {
        "labels": str(options.out),
        **found,
        "lines": [f"{options.out}: {found['rows']} rows, {found['labelled']} with a label from their folder"],
    }


def backbones(_options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift backbones`."""
    from models.families import ARCHITECTURES
    from models.weights import find_weights
    from pipeline.learn.network import weights_folder

    found: dict[str, str] = {}
    for name in ARCHITECTURES:
        try:
            found[name] = find_weights(name, "imagenet", folder=weights_folder(), download=False).origin
        except ModelError:
            found[name] = ""
    lines = [f"{name:22s} {origin or '-'}" for name, origin in found.items()]
    return {
        "backbones": found,
        "lines": [*lines, "timm/NAME             with the extra: pip install 'scanshift[timm]'"],
    }


def weights(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift weights list | check | add FILE`."""
    from models.stock import add_weights, check_weights, list_weights
    from pipeline.learn.network import weights_folder

    if options.action == "add":
        if options.file is None:
            raise ConfigError("weights add: name the file")
        placed = add_weights(options.file)
        return {"file": str(placed), "lines": [f"{placed}: in place, hash right"]}
    if options.action == "list":
        rows = list_weights(weights_folder())
        return {"weights": rows, "lines": [f"{name}: {where}" for name, where in rows.items()] or ["none here"]}
    rows = check_weights(weights_folder())
    wrong = sum(state != "right" for state in rows.values())
    return {
        "weights": rows,
        "exit": FAILED if wrong else DONE,
        "lines": [*(f"{name}: {state}" for name, state in rows.items()), f"{len(rows)} files, {wrong} wrong"],
    }


def workspace(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift workspace clean`."""
    from pipeline.prepare.cache import trim

    space = Workspace(options.workspace)
    if not space.root.is_dir():
        raise SourceError(f"{space.root}: no such workspace")
    freed = trim(space.cache, keep=(space.cache / "training").glob("*"))
    return {"freed_bytes": freed, "lines": [f"{freed / 2**20:.0f} MiB deleted from the cache"]}
