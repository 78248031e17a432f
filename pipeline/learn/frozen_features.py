"""Features of a backbone that does not change for a while: computed once, and dropped when it has changed."""

from collections.abc import Sequence

import torch

from models.classifier import SliceBagClassifier
from pipeline.config import Config
from pipeline.learn.features import FeatureBags, extract
from pipeline.learn.ranks import current_ranks
from pipeline.learn.sets import LabelledSet
from pipeline.watch import Watch

NORM_CASES = 512


class FrozenFeatures:
    """Features of the training and the validation set.

    Args:
        classifier: Whose backbone computes them.
        train, val: The two sides.
        config: Precision.
        device: Where the network runs.
        watch: Where progress is told.

    Attributes:
        bags: Of the two sides, once they were asked for.
    """

    def __init__(
        self,
        classifier: SliceBagClassifier,
        train: LabelledSet,
        val: LabelledSet,
        *,
        config: Config,
        device: torch.device,
        watch: Watch,
    ) -> None:
        self.classifier, self.train, self.val, self.config = classifier, train, val, config
        self.device, self.watch = device, watch
        self.bags: tuple[FeatureBags, FeatureBags] | None = None

    def both(self) -> tuple[FeatureBags, FeatureBags]:
        """Features of the training and the validation set."""
        if self.bags is None:
            self.bags = self._extract(self.train.contents), self._extract(self.val.contents)
        return self.bags

    def drop(self) -> None:
        """Forget them: the backbone is another now."""
        self.bags = None

    def fit_norm(self, *, whole: bool) -> None:
        """Fit the classifier's standardisation on the training set, or on up to about 512 scans of it."""
        stride = 1 if whole else 1 + len(self.train.contents) // NORM_CASES
        bags = self._extract(self.train.contents[::stride])
        self.classifier.norm.fit(bags.features[bags.mask].to(self.device))

    def _extract(self, contents: Sequence[str]) -> FeatureBags:
        """Features of some scans; several ranks fill the cache together, and then each reads all of it."""
        ranks = current_ranks()
        if ranks.count > 1:
            if mine := ranks.every(contents):
                self._from_cache(mine)
            ranks.meet()
        return self._from_cache(contents)

    def _from_cache(self, contents: Sequence[str]) -> FeatureBags:
        return extract(
            self.classifier,
            self.train.store,
            contents,
            device=self.device,
            precision=self.config.precision,
            progress=self.watch.bar("features", len(contents)),
        )
