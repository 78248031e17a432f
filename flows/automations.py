"""What a Prefect server does by itself: it ends runs whose process died, which would stay `Running` for ever.

`python -m flows.automations` sets it up on the server that `PREFECT_API_URL` names.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.events import AutomationCore

NAME = "scanshift: end runs whose heartbeat stopped"
HEARTBEAT_SECONDS = 30
SILENT_SECONDS = 180
ENDED = ("Completed", "Failed", "Cancelled", "Crashed")


def zombie_automation() -> "AutomationCore":
    """Three minutes without a heartbeat, or an end, make a flow run Crashed.

    Runs must send one every 30 seconds (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`), as `scanshift serve` lets them.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events import AutomationCore, ChangeFlowRunState, EventTrigger, Posture, ResourceSpecification

    beat = "prefect.flow-run.heartbeat"
    return AutomationCore(
        name=NAME,
        description="Its process died, or the machine did; the next run of the schedule does the work.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *(f"prefect.flow-run.{end}" for end in ENDED)},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENT_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(name=None, state=StateType.CRASHED, message="no heartbeat for 3 minutes", force=False)
        ],
    )


def ensure_automations() -> bool:
    """Create the automation on the server in use, unless one of its name is there.

    Returns:
        Whether it was created.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        if client.read_automations_by_name(NAME):
            return False
        client.create_automation(zombie_automation())
        return True


if __name__ == "__main__":
    ensure_automations()
