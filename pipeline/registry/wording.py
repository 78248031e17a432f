"""The registry in lines and as JSON."""

from dataclasses import asdict
from typing import Any

from pipeline.registry.place import wrong_with
from pipeline.registry.records import PROMOTED, Event, Measurement, Model, State
from pipeline.registry.store import Registry, newest

HEADINGS = ("digest", "state", "approved as", "by", "AUROC (95 % interval)", "measured", "parent", "model")


def listed(registry: Registry) -> list[dict[str, Any]]:
    """One record per bundle, for JSON."""
    return [_record(registry, model) for model in registry.models()]


def list_lines(registry: Registry) -> list[str]:
    """One line per bundle, under headings."""
    rows = [HEADINGS, *(_row(registry, model) for model in registry.models())]
    if len(rows) == 1:
        return ["no bundle is in the registry"]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def shown(registry: Registry, model: Model) -> dict[str, Any]:
    """All that there is of one bundle, for JSON."""
    wrong = wrong_with(model)
    return {
        **_record(registry, model),
        "intact": not wrong,
        "problem": wrong,
        "measurements": [asdict(line) for line in registry.measurements(model.digest)],
        "events": [asdict(event) for event in registry.events(model.digest)],
        "parents": [
            {"digest": digest, "state": known.state if known else None} for digest, known in parents(registry, model)
        ],
    }


def show_lines(registry: Registry, model: Model) -> list[str]:
    """All that there is of one bundle, in lines."""
    wrong = wrong_with(model)
    lines = [
        f"digest: {model.digest}",
        f"state: {_state(model)}",
        f"model: {_model(model)}; classes {', '.join(model.classes)}; made {model.created}",
        f"folder: {model.folder} ({'intact' if not wrong else 'BROKEN: ' + wrong})",
    ]
    chain = [
        f"{digest[:12]} ({known.state if known else 'not in the registry'})"
        for digest, known in parents(registry, model)
    ]
    lines += [f"parents: {' <- '.join(chain)}"] if chain else []
    for line in registry.measurements(model.digest):
        lines.append(f"measured {line.at} by {line.verb} on {line.measured_on}: {_figures(line)}")
        lines += [
            f"  site {site.site}: AUROC {_auroc(site.auroc, site.low, site.high)}, {site.scans} scans"
            for site in line.sites
        ]
    lines += [_event(event) for event in registry.events(model.digest)]
    return lines


def parents(registry: Registry, model: Model) -> list[tuple[str, Model | None]]:
    """The bundle that this one was made from, that one's, and so on, as far as the registry knows."""
    chain: list[tuple[str, Model | None]] = []
    seen, current = {model.digest}, model
    while current.parent and current.parent not in seen:
        known = registry.known(current.parent)
        chain.append((current.parent, known))
        if known is None:
            break
        seen.add(known.digest)
        current = known
    return chain


def _record(registry: Registry, model: Model) -> dict[str, Any]:
    found = newest(registry.measurements(model.digest))
    return {
        "digest": model.digest,
        "state": model.state,
        "slots": list(model.slots),
        "approver": _approver(registry, model),
        "parent": model.parent or None,
        "task": model.task,
        "backbone": model.backbone,
        "classes": list(model.classes),
        "created": model.created,
        "folder": str(model.folder),
        "measurement": asdict(found) if found else None,
    }


def _row(registry: Registry, model: Model) -> tuple[str, ...]:
    found = newest(registry.measurements(model.digest))
    return (
        model.short,
        model.state,
        ", ".join(model.slots) or "-",
        _approver(registry, model) or "-",
        _auroc(found.auroc, found.low, found.high) if found else "-",
        f"{found.verb}, {found.scans} scans, {found.at[:10]}" if found else "never",
        model.parent[:12] or "-",
        _model(model),
    )


def _approver(registry: Registry, model: Model) -> str:
    """Who approved it last; empty where nobody did."""
    return next((event.who for event in reversed(registry.events(model.digest)) if event.event == PROMOTED), "")


def _model(model: Model) -> str:
    return f"{model.backbone}, {model.task}"


def _state(model: Model) -> str:
    return f"approved as {', '.join(model.slots)}" if model.state == State.APPROVED else str(model.state)


def _figures(line: Measurement) -> str:
    return f"AUROC {_auroc(line.auroc, line.low, line.high)}, {line.scans} scans of {line.patients} patients"


def _auroc(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "not computed"
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f} ({low:.4f} to {high:.4f})"


def _event(event: Event) -> str:
    slot = f" as {event.slot}" if event.slot else ""
    return f"{event.at} {event.event}{slot} by {event.who}" + (f": {event.note}" if event.note else "")
