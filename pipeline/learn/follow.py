"""What the other ranks of a training by several processes do beside the one that runs `adapt`."""

from pipeline.learn.plan import Plan
from pipeline.learn.prepared import prepared
from pipeline.learn.ranks import check_ranks, current_ranks
from pipeline.learn.train import harmonised, train_best
from pipeline.prepare.cache import SampleStore
from pipeline.watch import Watch
from pipeline.workspace import Workspace


def follow(plan: Plan, workspace: Workspace) -> None:
    """Train a plan beside the rank that runs `adapt`, and write nothing but samples and features.

    Raises:
        ConfigError: As `check_ranks`.
    """
    check_ranks(plan.config, plan.phases, current_ranks())
    store = SampleStore(workspace.cache, plan.preparation)
    plan, store = harmonised(prepared(plan, store, Watch()), store, Watch())
    train_best(plan, store, workspace, Watch())
