"""The gate: a scan that lies far from all that a model was adapted to is refused, not scored."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.backbones import Backbone
from models.bundle import Bundle
from models.errors import BundleError
from models.stage_mean import with_stage_mean
from pipeline.errors import Reason
from pipeline.gate.record import GateRecord

TENSORS = "models/gate.pt"
MOST_SCANS = 500
MOST_BYTES = 64 * 2**20
ROUNDING = 1e-3
NEAR = 0.1

Rows = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Scans to compare with, and the limit.

    Attributes:
        record: Stage, number of neighbours and limit.
        bank: Directions of the scans, shape (R, C), float32, each of length 1.

    Source:
        Sun et al. 2022, Out-of-Distribution Detection with Deep Nearest Neighbors; there with the k-th neighbour of
        penultimate features, here with the mean of k and a stage below, which tells kinds of pictures from each
        other better than scanners.
    """

    record: GateRecord
    bank: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """As a plain state dict for `models.bundle.write_bundle`."""
        return {"bank": self.bank.cpu()}

    def distance(self, slices: Tensor) -> float:
        """Mean distance of a scan to its k nearest of the bank; of the mean of its slices' stage means (N, C)."""
        return float(distances(direction(slices)[None], self.bank, self.record.neighbours))

    def near(self, slices: Tensor) -> bool:
        """Whether a scan lies so close to the limit that stage means off by a little could put it on the other side."""
        return abs(self.distance(slices) - self.record.limit) <= NEAR * self.record.limit

    def refusal(self, slices: Tensor) -> str:
        """Why a scan with these stage means (N, C) is not scored; empty where it may be."""
        far = self.distance(slices)
        if far <= self.record.limit:  # not so for NaN
            return ""
        usual = f"of those, 99 % lie within {self.record.usual:.2g}, and up to {self.record.limit:.2g} is scored"
        return (
            f"{Reason.NOT_APPLICABLE}: unlike all scans that the model was adapted to (distance {far:.2g}; {usual}): "
            "another body part, view or kind of picture"
        )


def direction(slices: Tensor) -> Tensor:
    """Mean of a scan's stage means (N, C) at length 1, shape (C,), float32."""
    return functional.normalize(slices.float().mean(dim=0), dim=0)


def distances(rows: Tensor, bank: Tensor, k: int) -> Tensor:
    """Mean distance (M,) of rows (M, C) to their k nearest of a bank (R, C)."""
    apart = torch.cdist(rows, bank, compute_mode="donot_use_mm_for_euclid_dist")
    nearest: Tensor = apart.topk(min(k, len(bank)), largest=False).values
    return nearest.mean(dim=1)


def gated(gate: Gate | None, backbone: Backbone, rows: Rows, alone: Rows) -> Rows:
    """Rows (M, K) of slices, followed by the stage means (M, C) that a gate looks at; no columns more without one.

    Args:
        gate: The bundle's.
        backbone, rows, alone: As `with_stage_mean` takes them.
    """
    return with_stage_mean(backbone, gate.record.stage, rows, alone) if gate else rows


def check_gate(bundle: Bundle, gate: Gate | None, backbone: Backbone) -> None:
    """See that a gate fits its network.

    Raises:
        BundleError: If the network has no such stage, or one of another width.
    """
    if gate is None:
        return
    with torch.inference_mode():
        maps = backbone.feature_maps(torch.zeros(1, 3, backbone.min_size, backbone.min_size))
    found = maps.get(gate.record.stage)
    if found is None or found.shape[1] != gate.bank.shape[1]:
        raise BundleError(f"{bundle.folder}: the gate does not fit {backbone.name}")


def read_gate(bundle: Bundle, record: GateRecord | None) -> Gate | None:
    """The bundle's gate; None where its record names none. Nothing in it is believed unchecked.

    Raises:
        BundleError: If it makes no sense.
    """
    if record is None:
        return None
    path = bundle.folder / TENSORS
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise BundleError(f"{bundle.folder}: {TENSORS} is missing or larger than {MOST_BYTES} bytes")
    state = bundle.tensors(TENSORS)
    bank = state.get("bank")
    if not isinstance(bank, Tensor):
        raise BundleError(f"{bundle.folder}: {TENSORS} makes no sense")
    plausible = (
        set(state) == {"bank"}
        and bank.dtype == torch.float32
        and bank.ndim == 2
        and record.neighbours <= len(bank) == record.scans <= MOST_SCANS
        and bool(((bank.norm(dim=1) - 1).abs() < ROUNDING).all())
    )
    if not plausible:
        raise BundleError(f"{bundle.folder}: {TENSORS} makes no sense")
    return Gate(record, bank)
