"""`scanshift models`: what is done with bundles that are there."""

import argparse
from collections.abc import Callable
from typing import Any

from flows import registry_command
from flows.bundle_option import existing
from flows.progress import make_watch
from flows.register import register
from pipeline.errors import ConfigError, PolicyError
from pipeline.workspace import require_writable


def models(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift models VERB`."""
    return VERBS[options.action](options)


def set_policy(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift models set-policy`."""
    from pipeline.decide.policy import parse_policy
    from pipeline.decide.set_policy import set_policy as change_policy

    try:
        rule = parse_policy(options.policy)
    except PolicyError as error:
        raise ConfigError(f"--policy: {error}") from error
    require_writable(options.new.absolute().parent)
    space = existing(options.workspace) if options.workspace else None
    made = change_policy(options.bundle, options.new, rule)
    if space:
        from pipeline.registry.take_in import note_made

        register(make_watch(), note_made, space, options.new, who="models set-policy")
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


VERBS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "list": registry_command.list_models,
    "show": registry_command.show,
    "add": registry_command.add,
    "promote": registry_command.promote,
    "retire": registry_command.retire,
    "reinstate": registry_command.reinstate,
    "set-policy": set_policy,
}
