"""Options of `score` and `serve` that have other processes do the work."""

import argparse

from pipeline.errors import ConfigError

PARTS = 2


def add_elsewhere(command: argparse.ArgumentParser) -> None:
    """Add `--dask`, `--work-pool` and `--parts`."""
    command.add_argument(
        "--dask", default="", metavar="tcp://HOST:PORT", help="score on the Dask cluster whose scheduler is there"
    )
    command.add_argument(
        "--work-pool", default="", metavar="NAME", help="score over the workers of this pool of $PREFECT_API_URL"
    )
    command.add_argument(
        "--parts", type=int, default=PARTS, metavar="N", help="flow runs of the work pool (default: %(default)s)"
    )


def check_elsewhere(options: argparse.Namespace) -> None:
    """Check these options before anything is written.

    Raises:
        ConfigError: In one line.
    """
    if options.dask and options.work_pool:
        raise ConfigError("--dask and --work-pool: choose one")
    if options.dask:
        from flows.dask_cluster import check_address

        check_address(options.dask)
    if options.work_pool:
        from flows.work_pool import check_pool

        check_pool(options.work_pool, options.parts)
