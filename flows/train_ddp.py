"""`scanshift adapt` by several processes: torchrun --nproc_per_node=N -m flows.train_ddp LABELS.csv -w WS --bundle DIR.

Takes the arguments of `adapt`. Rank 0 runs the flow and writes bundle, report, catalogue and checkpoints; the others
wait until it has prepared the scans, and then train beside it.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import timedelta

import torch
from torch import distributed

from flows import commands
from flows.cli import build_parser
from flows.exit_codes import DONE, FAILED, WRONG_USE
from models.errors import ModelError
from pipeline.config import Config, load_config
from pipeline.errors import ConfigError, PipelineError
from pipeline.learn.device import choose_device
from pipeline.learn.follow import follow
from pipeline.learn.plan import make_plan
from pipeline.learn.ranks import current_ranks
from pipeline.watch import Watch
from pipeline.workspace import Workspace

PATIENCE = timedelta(days=7)  # the first rank prepares all scans before the others have something to do
RENDEZVOUS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this process's part and return its exit code."""
    options = build_parser().parse_args(["adapt", *(sys.argv[1:] if arguments is None else arguments)])
    if options.dry_run or not all(name in os.environ for name in RENDEZVOUS):
        sys.stderr.write(
            "start it by torchrun, without --dry-run: torchrun --nproc_per_node=2 -m flows.train_ddp ...\n"
        )
        return WRONG_USE
    try:
        config = load_config(options.config, options.set)
        join(config)
    except ConfigError as error:
        return _tell(error, WRONG_USE)
    try:
        return commands.run(options) if current_ranks().first else _follow(options, config)
    finally:
        distributed.destroy_process_group()


def join(config: Config) -> None:
    """Join the process group: NCCL, each rank with a GPU of its own, or Gloo on the CPU.

    Raises:
        ConfigError: If the device is one GPU, or there are fewer GPUs than ranks on this machine.
    """
    if ":" in config.device:
        raise ConfigError(f"torchrun: device={config.device} is one GPU for all ranks; set device=cuda")
    local = int(os.environ["LOCAL_RANK"])
    cuda = choose_device(config.device).type == "cuda"
    if cuda and local >= torch.cuda.device_count():
        raise ConfigError(f"torchrun: {torch.cuda.device_count()} GPUs for more ranks; set device=cpu or start fewer")
    if cuda:
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)


def _follow(options: Namespace, config: Config) -> int:
    """Train beside the first rank; what goes wrong at both is told by that one."""
    try:
        current_ranks().meet()
        space = Workspace(options.workspace)
        follow(make_plan(options.labels, space, config, Watch()), space)
    except (PipelineError, ModelError) as error:
        return _tell(error, FAILED)
    return DONE


def _tell(error: Exception, code: int) -> int:
    if os.environ.get("RANK") == "0" or code == FAILED:
        sys.stderr.write(f"scanshift: {' '.join(str(error).splitlines())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
