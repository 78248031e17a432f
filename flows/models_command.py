"""`scanshift models`: what is done with bundles that are there."""

import argparse
from typing import Any

from pipeline.errors import ConfigError, PolicyError
from pipeline.workspace import require_writable


def models(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift models set-policy`."""
    from pipeline.decide.policy import parse_policy
    from pipeline.decide.set_policy import set_policy

    try:
        rule = parse_policy(options.policy)
    except PolicyError as error:
        raise ConfigError(f"--policy: {error}") from error
    require_writable(options.new.absolute().parent)
    made = set_policy(options.bundle, options.new, rule)
    record, before = made.record, made.before
    return {
        "bundle": str(made.bundle.folder),
        "digest": made.bundle.digest,
        "parent": record.parent,
        "anomaly_threshold": {"before": before.anomaly_threshold, "after": record.anomaly_threshold},
        "thresholds": record.thresholds,
        "policy": record.policy.model_dump(mode="json"),
        "lines": [
            *record.policy.lines,
            f"anomaly threshold: {record.anomaly_threshold:.4f} (was {before.anomaly_threshold:.4f}, "
            f"{before.policy.rule.text})",
            f"bundle: {made.bundle.folder} ({made.bundle.digest[:12]}), weights of {record.parent[:12]}",
        ],
    }
