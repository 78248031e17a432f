"""`scanshift shift`: from its arguments to the flow's request."""

import argparse
from typing import Any

from flows.request import Request
from flows.run import run_flow
from pipeline.config import load_config
from pipeline.workspace import require_writable


def shift(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift shift`."""
    from pipeline.score.place import state_folder
    from pipeline.shift.compare import Sides, check_sides

    more = {"device": options.device, "seed": options.seed}
    settings = [f"{key}={value}" for key, value in more.items() if value is not None]
    config = load_config(options.config, [*options.set, *settings])
    sides = Sides(options.reference, options.incoming, options.bundle, options.reference_site, options.incoming_site)
    check_sides(sides, config)
    require_writable(options.out)
    space = state_folder(options.out, options.workspace).open()
    request = Request(
        verb="shift",
        workspace=str(space.root.absolute()),
        run=str(space.run_folder("shift").absolute()),
        sources=(str(options.reference.absolute()), str(options.incoming.absolute())),
        bundle=str(options.bundle.absolute()) if options.bundle else "",
        out=str(options.out.absolute()),
        options={
            "config": config.model_dump(mode="json", exclude_unset=True),
            "reference_site": options.reference_site,
            "incoming_site": options.incoming_site,
        },
    )
    return run_flow("flows.shift", "shift_flow", request)
