"""Reading a bundle's reference statistics, which may come from anywhere: nothing in them is believed unchecked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.bundle import Bundle
from models.errors import BundleError
from pipeline.errors import SourceError
from pipeline.model_record import ModelRecord
from pipeline.shift.domain import HeaderValue
from pipeline.shift.encoder import Floats
from pipeline.shift.reading import Scans

TENSORS = "models/reference.pt"
HEADERS = "configs/reference.json"
FORMAT = 1
MOST = 500
COMPONENTS = 32
LONGEST = 128
LARGEST = 1e30
MOST_FIELDS = 100
MOST_BYTES = 4 * 2**20
NAMES = frozenset({"mean", "basis", "features", "logits", "truth", "patients"})


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Held-out scans of a bundle's own adaptation as 32 principal components of their features.

    Attributes:
        mean: Of the features before projection, shape (F,).
        basis: Orthonormal directions, shape (K, F), K <= 32.
        scans: The projected features, shape (n, K), logits, truth, patients as numbers, header fields.
    """

    mean: Floats
    basis: Floats
    scans: Scans

    def project(self, features: Floats) -> Floats:
        """Features (m, F) on the basis: (features - mean) basis^T, shape (m, K)."""
        return np.asarray((features - self.mean) @ self.basis.T, np.float32)


def read_reference(bundle: Bundle, record: ModelRecord) -> Reference:
    """The reference statistics of a bundle.

    Raises:
        SourceError: If the bundle has none.
        BundleError: If they make no sense.
    """
    if not all((bundle.folder / name).is_file() for name in (TENSORS, HEADERS)):
        raise SourceError(
            f"{bundle.folder}: the bundle keeps no reference statistics: it is from before they were kept, or was "
            "trained on all its scans; give reference scans as REFERENCE and the bundle by --bundle, or adapt again"
        )
    if any((bundle.folder / name).stat().st_size > MOST_BYTES for name in (TENSORS, HEADERS)):
        raise BundleError(f"{bundle.folder}: reference statistics of more than {MOST_BYTES} bytes")
    arrays = _checked(bundle, bundle.tensors(TENSORS), record)
    patients = tuple(f"reference {number}" for number in arrays["patients"].tolist())
    scans = Scans(
        features=arrays["features"],
        logits=arrays["logits"],
        truth=arrays.get("truth"),
        patients=patients,
        headers=_read_headers(bundle, len(patients)),
    )
    return Reference(arrays["mean"], arrays["basis"], scans)


def _checked(bundle: Bundle, state: Mapping[str, Any], record: ModelRecord) -> dict[str, Any]:
    wrong = BundleError(f"{bundle.folder}: {TENSORS} makes no sense")
    if set(state) | {"truth"} != NAMES or not all(isinstance(value, Tensor) for value in state.values()):
        raise wrong
    here = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if len(here["features"]) != 2 or len(here["basis"]) != 2:
        raise wrong
    (n, k), (_, f), labels = here["features"], here["basis"], len(record.classes)
    expected = {"mean": (f,), "basis": (k, f), "features": (n, k)}
    expected |= {"logits": (n, labels), "truth": (n, labels), "patients": (n,)}
    expected = {name: shape for name, shape in expected.items() if name in here}
    if here != expected or not 1 <= n <= MOST or not 1 <= k <= COMPONENTS:
        raise wrong
    kinds = dict.fromkeys(("mean", "basis", "features", "logits"), torch.float32)
    kinds |= {"truth": torch.int8, "patients": torch.int64}
    if any(one.dtype != kinds[name] or not bool(torch.isfinite(one).all()) for name, one in state.items()):
        raise wrong
    truth = state.get("truth")
    if truth is not None and not bool(((truth == 0) | (truth == 1)).all()):
        raise wrong
    return {name: tensor.numpy() for name, tensor in state.items()}


def _read_headers(bundle: Bundle, n: int) -> dict[str, tuple[HeaderValue, ...]]:
    wrong = BundleError(f"{bundle.folder}: {HEADERS} makes no sense")
    try:
        record: Any = json.loads(bundle.text(HEADERS))
        fields = dict(record["fields"]) if record["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise wrong from error
    if fields is None or len(fields) > MOST_FIELDS:
        raise wrong
    for name, values in fields.items():
        if not isinstance(name, str) or len(name) > LONGEST or not isinstance(values, list) or len(values) != n:
            raise wrong
        if not all(_is_value(value) for value in values):
            raise wrong
    return {name: tuple(values) for name, values in fields.items()}


def _is_value(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST
    if isinstance(value, int | float) and not isinstance(value, bool):
        return -LARGEST < value < LARGEST  # false for NaN
    return value is None
