"""`scanshift check`: what is there and what would become of it, before any work."""

import argparse
from typing import Any

from flows.progress import make_watch
from pipeline.workspace import require_writable


def check(options: argparse.Namespace) -> dict[str, Any]:
    """Check sources, with a bundle or without, and write the page where it is asked for."""
    from pipeline.check.as_json import check_record
    from pipeline.check.as_text import text_lines
    from pipeline.check.survey import check_sources
    from pipeline.check.write import FILES, write_check
    from pipeline.ingest.archives import passing_archives

    if options.out:
        require_writable(options.out)
    trial = None
    if options.bundle:
        from pipeline.check.trial import load_trial

        trial = load_trial(options.bundle, options.device)
    with passing_archives(everywhere=options.archives) as archives:
        found = check_sources(
            options.sources,
            trial=trial,
            headers_only=options.headers_only,
            archives=archives,
            watch=make_watch(options.json),
        )
    lines = text_lines(found, names=options.names)
    if options.out:
        write_check(found, options.out)
        lines.insert(-1, f"written: {', '.join(FILES)}")
    return {**check_record(found, names=options.names), "lines": lines}
