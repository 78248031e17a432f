"""What a ladder climbs on: scans of source and target, and the features that its rungs share."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.classifier import SliceBagClassifier
from pipeline.config import Config, Precision
from pipeline.learn.features import extract
from pipeline.learn.sets import LabelledSet
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, targets
from pipeline.watch import Step, Watch


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Labelled scans of one side.

    Attributes:
        contents: n content hashes; their samples are in the store.
        targets: Indicators (n, L), float32.
        patients: Whose scans they are.
    """

    contents: tuple[str, ...]
    targets: Tensor
    patients: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.contents)

    def take(self, rows: Sequence[int]) -> "Side":
        """Some of its scans."""
        return Side(
            tuple(self.contents[n] for n in rows), self.targets[list(rows)], tuple(self.patients[n] for n in rows)
        )

    def labelled(self, store: SampleStore) -> LabelledSet:
        """The same as the training loop takes it."""
        return LabelledSet(store, self.contents, self.targets)


def labelled_side(cases: Sequence[Case], classes: Sequence[str]) -> Side | None:
    """Labelled cases as a side; None where there are none."""
    if not cases:
        return None
    indicators = torch.from_numpy(targets(cases, classes)).float()
    return Side(tuple(case.ref.key for case in cases), indicators, tuple(case.patient for case in cases))


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What is known before the first rung.

    Attributes:
        classifier: Pretrained backbone, features of all its stages, mean pooling; its head is not used.
        store: Prepared samples.
        source: Labelled source scans to fit on; None where the target stands alone.
        held: Labelled source scans of other patients, to measure on; None with `source`.
        target: Labelled target scans; None where there are none.
        unlabelled: Content hashes of all target scans that may be looked at, labelled or not.
        patients: Patient of each of those.
        config: The configuration.
        device: Where networks run.
        watch: Where progress is told.
        kept: Features of the plain scans by the plain network that were looked at already; many rungs share them.
        shown: What rungs made of the scans without any target label, by name; problems that differ in their target
            labels only can share it.
    """

    classifier: SliceBagClassifier
    store: SampleStore
    source: Side | None
    held: Side | None
    target: Side | None
    unlabelled: tuple[str, ...]
    patients: tuple[str, ...]
    config: Config
    device: torch.device
    watch: Watch
    kept: dict[tuple[str, ...], Tensor] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)

    @property
    def labelled_rows(self) -> list[int]:
        """Positions of the labelled target scans among all target scans."""
        place = {content: n for n, content in enumerate(self.unlabelled)}
        return [place[content] for content in self.target.contents] if self.target else []

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each stage."""
        return self.classifier.backbone.widths

    def features(
        self,
        contents: Sequence[str],
        title: str,
        *,
        store: SampleStore | None = None,
        classifier: SliceBagClassifier | None = None,
        precision: Precision | None = None,
    ) -> Tensor:
        """Mean over the bag of each scan's features, (n, F), float32, from the cache where they are there."""
        plain = store is None and classifier is None and precision is None
        key = tuple(contents)
        if plain and key in self.kept:
            return self.kept[key]
        found = mean_features(
            classifier or self.classifier,
            store or self.store,
            contents,
            self.device,
            precision or self.config.precision,
            self.watch.bar(title, len(contents)),
        )
        if plain:
            self.kept[key] = found
        return found


def mean_features(
    classifier: SliceBagClassifier,
    store: SampleStore,
    contents: Sequence[str],
    device: torch.device,
    precision: Precision,
    progress: Step,
) -> Tensor:
    """Mean over the bag of each scan's features, (n, F), float32, from the cache where they are there."""
    bags = extract(classifier, store, contents, device=device, precision=precision, progress=progress)
    share = bags.mask.float() / bags.mask.sum(dim=1, keepdim=True)
    return (bags.features * share[..., None]).sum(dim=1)
