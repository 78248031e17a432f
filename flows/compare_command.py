"""`scanshift compare`: two validations of the same scans, paired. It reads small files, so it needs no flow."""

import argparse
from typing import Any

from pipeline.errors import ConfigError
from pipeline.workspace import require_writable


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift compare`."""
    from pipeline.evaluate.compare.write import compare as compare_validations

    if options.seed < 0:
        raise ConfigError(f"--seed {options.seed}: expected 0 or more")
    require_writable(options.out)
    return compare_validations(options.a, options.b, options.out, seed=options.seed)
