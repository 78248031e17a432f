"""Batch-norm statistics of the training scans."""

import torch

from models.alignment.adabn import recompute_statistics
from models.classifier import SliceBagClassifier
from models.errors import ModelError
from pipeline.config import Config
from pipeline.errors import DivergedError
from pipeline.learn.device import mixed
from pipeline.learn.sets import LabelledSet
from pipeline.learn.target_stream import shuffled_batches

CASES = 512


def recompute_on(classifier: SliceBagClassifier, train: LabelledSet, config: Config, device: torch.device) -> None:
    """Give the backbone's batch norm the statistics of up to about 512 training scans, without augmentation.

    Raises:
        DivergedError: If a statistic is not a number; the statistics are as before then.
    """
    contents = train.contents[:: 1 + len(train.contents) // CASES]
    batches = (bags.slices[bags.mask].to(device) for bags in shuffled_batches(train.store, contents, seed=config.seed))
    try:
        with mixed(device, config.precision):
            recompute_statistics(classifier.backbone, classifier.features, batches)
    except ModelError as error:
        raise DivergedError(str(error)) from error
