"""The verbs of `scanshift models` that read and change the registry."""

import argparse
from typing import Any

from flows.bundle_option import existing
from pipeline.workspace import Workspace


def list_models(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift models list`."""
    from pipeline.registry.place import opened
    from pipeline.registry.wording import list_lines, listed

    with opened(existing(options.workspace)) as registry:
        return {"models": listed(registry), "lines": list_lines(registry)}


def show(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift models show`."""
    from pipeline.registry.place import find_model, opened
    from pipeline.registry.wording import show_lines, shown

    with opened(existing(options.workspace)) as registry:
        model = find_model(registry, options.which)
        return {**shown(registry, model), "lines": show_lines(registry, model)}


def add(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift models add`."""
    from pipeline.registry.take_in import add_bundle

    model, new = add_bundle(Workspace(options.workspace).open(), options.bundle, who="models add")
    told = "taken in as a candidate" if new else f"known, {model.state}; it lies in {model.folder}"
    return {"digest": model.digest, "state": model.state, "new": new, "lines": [f"{model.short}: {told}"]}


def promote(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift models promote`."""
    from pipeline.registry.approve import approver
    from pipeline.registry.approve import promote as approve

    model, before = approve(
        existing(options.workspace),
        options.which,
        approver(options.by, options.note),
        slot=options.slot,
        unvalidated=options.unvalidated,
    )
    line = f"{model.short}: approved as {options.slot}" + (f", in place of {before[:12]}" if before else "")
    return {"digest": model.digest, "slot": options.slot, "before": before or None, "lines": [line]}


def retire(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift models retire`."""
    from pipeline.registry.approve import approver
    from pipeline.registry.approve import retire as take_out

    model, slots = take_out(existing(options.workspace), options.which, approver(options.by, options.note))
    lines = [f"{model.short}: retired", *(f"{slot}: no bundle is approved now" for slot in slots)]
    return {"digest": model.digest, "state": model.state, "slots": list(slots), "lines": lines}


def reinstate(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift models reinstate`."""
    from pipeline.registry.approve import approver
    from pipeline.registry.approve import reinstate as make_candidate

    model = make_candidate(existing(options.workspace), options.which, approver(options.by, options.note))
    return {"digest": model.digest, "state": model.state, "lines": [f"{model.short}: a candidate again"]}
