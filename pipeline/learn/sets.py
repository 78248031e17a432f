"""What a model is trained on: scans with labels, and scans without."""

from dataclasses import dataclass

from torch import Tensor

from pipeline.prepare.cache import SampleStore


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """One side of the split.

    Attributes:
        store: Where the samples are.
        contents: n content hashes.
        targets: Indicators (n, L), float32.
    """

    store: SampleStore
    contents: tuple[str, ...]
    targets: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class UnlabelledSet:
    """Scans whose labels are unknown or not looked at, such as a target hospital's.

    Attributes:
        store: Where the samples are.
        contents: Content hashes.
    """

    store: SampleStore
    contents: tuple[str, ...]
