"""What a bundle says of its gate."""

from pydantic import BaseModel, ConfigDict, Field


class GateRecord(BaseModel):
    """How far a scan may lie from those that a model was adapted to.

    Attributes:
        stage: Stage of the network whose mean map is looked at.
        neighbours: k.
        usual: Distance that 99 % of the held-out scans do not exceed.
        limit: Distance beyond which a scan is refused.
        scans: Number of scans that it is compared with.
        held_out: Number of scans behind `usual`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    stage: str
    neighbours: int = Field(ge=1, le=100)
    usual: float = Field(gt=0)
    limit: float = Field(gt=0)
    scans: int = Field(ge=1)
    held_out: int = Field(ge=1)
