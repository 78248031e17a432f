"""The command `scanshift deidentify`."""

import argparse
from typing import Any

from flows.exit_codes import DONE, FAILED
from flows.progress import make_watch
from flows.tools import count_line
from pipeline.errors import ConfigError


def deidentify(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift deidentify`."""
    from pipeline.deidentify.folder import REPORT, deidentify_folder, require_folders, write_table
    from pipeline.deidentify.options import Options, Rectangle
    from pipeline.deidentify.secret import load_secret

    chosen = Options(
        dates=options.dates,
        retain_device=options.retain_device,
        clean_descriptors=options.clean_descriptors,
        masks=tuple(Rectangle(*_numbers(text)) for text in options.mask),
        pixels_clean=options.pixels_clean,
    )
    _require_private(options)
    require_folders(options.source, options.dest, new_key=not options.key.exists())
    secret, told = load_secret(options.key)
    run = deidentify_folder(options.source, options.dest, secret, chosen, watch=make_watch(options.json))
    if options.table:
        write_table(options.table, run.rows)
    report = run.report("finished")
    lines = [*told, *(f"{code}: {count}" for code, count in report["reasons"].items())]
    if run.recognisable:
        lines.append(f"{run.recognisable} images say that a face can be recognised from them; it was not removed")
    lines += [f"report: {options.dest / REPORT}", count_line(report["files"])]
    return {
        **report,
        "report": str(options.dest / REPORT),
        "told": told,
        "exit": DONE if run.places else FAILED,
        "lines": lines,
    }


def _require_private(options: argparse.Namespace) -> None:
    """Check where key and table lie, before there is either.

    Raises:
        ConfigError: If one lies in DEST, or the table would take the place of the key or of a folder.
        SourceError: If the table could not be written at the end.
    """
    from pipeline.workspace import require_writable

    for private in filter(None, (options.key, options.table)):
        if private.resolve().is_relative_to(options.dest.resolve()):
            raise ConfigError("deidentify: key and table must not lie in DEST, which is handed on")
    if options.table and (options.table.is_dir() or options.table.resolve() == options.key.resolve()):
        raise ConfigError("deidentify: --table needs a file of its own, neither a folder nor the key")
    if options.table:
        require_writable(options.table.parent)


def _numbers(text: str) -> list[int]:
    """The four numbers of `--mask`.

    Raises:
        ConfigError: If it is something else.
    """
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts) or 0 in map(int, parts[2:]):
        raise ConfigError(f"--mask {text}: four whole numbers TOP,LEFT,HEIGHT,WIDTH in pixels would be right")
    return [int(part) for part in parts]
