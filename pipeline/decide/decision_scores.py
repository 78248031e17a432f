"""The held-out scores that a bundle keeps, so that its policy can be changed without training; no scan or identity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.bundle import Bundle
from models.errors import BundleError
from pipeline.decide.conformal import LARGEST, Flags, Floats
from pipeline.errors import PolicyError

TENSORS = "models/decision_scores.pt"
NORMAL, ABNORMAL, UNLABELLED = 0, 1, -1
MOST = 100_000
MOST_BYTES = 256 * 2**20
KINDS = {
    "score": torch.float64,
    "side": torch.int8,
    "patient": torch.int64,
    "probability": torch.float64,
    "truth": torch.int8,
}

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class DecisionScores:
    """Scores of n scans that the model was not fitted on.

    Attributes:
        score: Shape (n,): raw scores of the detector for `one_class`, else calibrated anomaly scores in 0..1.
        side: Shape (n,): 0 normal, 1 abnormal, -1 unlabelled.
        patient: Shape (n,): whose scan, as numbers that say nothing of who it is.
        probability: Calibrated probabilities, shape (n, L), which per-class thresholds are chosen on; none for
            `one_class`.
        truth: 0/1 indicator, shape (n, L), zero where unlabelled; together with `probability`.
    """

    score: Floats
    side: npt.NDArray[np.int8]
    patient: Integers
    probability: Floats | None = None
    truth: npt.NDArray[np.int8] | None = None

    def of(self, side: int) -> tuple[Floats, Integers]:
        """Scores and patients of one side."""
        here: Flags = self.side == side
        return self.score[here], self.patient[here]

    def tensors(self) -> dict[str, Tensor]:
        """As a plain state dict for `models.bundle.write_bundle`."""
        values = {name: getattr(self, name) for name in KINDS}
        return {name: torch.from_numpy(np.array(value)) for name, value in values.items() if value is not None}


def decision_scores(
    score: npt.ArrayLike,
    side: npt.ArrayLike,
    patients: Sequence[str],
    *,
    seed: int,
    probability: npt.ArrayLike | None = None,
    truth: npt.ArrayLike | None = None,
) -> DecisionScores:
    """Held-out scores in an order of their own, patients as shuffled numbers; of more than 100,000 scans as many drawn.

    Args:
        score, side, probability, truth: See `DecisionScores`.
        patients: Whose scan each is, shape (n,); any text.
        seed: Of what is drawn and shuffled.

    Raises:
        PolicyError: If lengths differ, or a score is not finite.
    """
    tables = {"score": score, "side": side, "probability": probability, "truth": truth}
    arrays = {name: np.asarray(value) for name, value in tables.items() if value is not None}
    if any(len(value) != len(patients) for value in arrays.values()):
        raise PolicyError(f"held-out scores: {len(patients)} patients, expected one for each scan")
    if not (np.abs(arrays["score"].astype(np.float64)) <= LARGEST).all():  # false for NaN
        raise PolicyError("held-out scores: one is not a finite number")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(patients))[:MOST]
    names = sorted({patients[n] for n in order})
    number = dict(zip(names, rng.permutation(len(names)).tolist(), strict=True))
    arrays["patient"] = np.array([number[patients[n]] for n in order], np.int64)
    drawn = {name: value if name == "patient" else value[order] for name, value in arrays.items()}
    return DecisionScores(**{name: torch.as_tensor(drawn[name]).to(KINDS[name]).numpy() for name in drawn})


def read_decision_scores(bundle: Bundle, *, labels: int, one_class: bool) -> DecisionScores:
    """The held-out scores of a bundle, which may come from anywhere: nothing in them is believed unchecked.

    Args:
        bundle: Opened.
        labels: Number of its classes.
        one_class: Whether its scores are raw ones.

    Raises:
        PolicyError: If the bundle keeps none.
        BundleError: If they make no sense.
    """
    path = bundle.folder / TENSORS
    if not path.is_file():
        raise PolicyError(
            f"{bundle.folder}: the bundle keeps no held-out scores: it is from before policies could be changed; "
            "adapt again"
        )
    if path.stat().st_size > MOST_BYTES:
        raise BundleError(f"{bundle.folder}: {TENSORS} of more than {MOST_BYTES} bytes")
    state = bundle.tensors(TENSORS)
    if not _plausible(state, labels, one_class):
        raise BundleError(f"{bundle.folder}: {TENSORS} makes no sense")
    return DecisionScores(**{name: tensor.numpy() for name, tensor in state.items()})


def _plausible(state: Mapping[str, Any], labels: int, one_class: bool) -> bool:
    short = {"score", "side", "patient"}
    if set(state) not in (short, set(KINDS)) or (one_class and set(state) != short):
        return False
    if not all(isinstance(one, Tensor) and one.dtype == KINDS[name] for name, one in state.items()):
        return False
    n = state["score"].numel()
    shapes = {name: (n,) if name in short else (n, labels) for name in state}
    if not 1 <= n <= MOST or any(tuple(one.shape) != shapes[name] for name, one in state.items()):
        return False
    lowest, highest = (-LARGEST, LARGEST) if one_class else (0.0, 1.0)
    limits = {
        "score": (lowest, highest),
        "side": (-1, 1),
        "patient": (0, n - 1),
        "probability": (0, 1),
        "truth": (0, 1),
    }
    return all(bool(((one >= limits[name][0]) & (one <= limits[name][1])).all()) for name, one in state.items())
