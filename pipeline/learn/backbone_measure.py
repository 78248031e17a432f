"""What one backbone's features are worth: the probe that decides, and the scores that stand beside it."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from models.backbones import Backbone, build_backbone
from models.classifier import SliceBagClassifier, pack
from models.errors import ModelError
from models.source_head import SourceHead, SourceNetwork, source_head
from models.transferability import TRANSFERABILITY
from models.weights import WeightsFile, load_weights
from pipeline.config import Config, Precision
from pipeline.learn.backbone_candidates import Candidate
from pipeline.learn.backbone_rows import BackboneRow
from pipeline.learn.cross_probe import Probe, cross_validate, logistic_probe, mean_and_error
from pipeline.learn.features import FeatureBags, extract
from pipeline.learn.fit import LabelledSet
from pipeline.learn.folds import Fold
from pipeline.watch import Watch

CHUNK = 256


def measure_backbone(
    candidate: Candidate,
    train: LabelledSet,
    folds: Sequence[Fold],
    *,
    config: Config,
    device: torch.device,
    watch: Watch,
    probe: Probe | None = None,
) -> BackboneRow:
    """Probe one backbone on the mean features of every bag; what keeps it from being measured becomes a reason."""
    started = time.monotonic()
    if candidate.file is None:
        return BackboneRow(candidate.backbone, reason=candidate.reason)
    try:
        backbone = build_backbone(candidate.backbone, seed=config.seed)
        head, no_head = _load(backbone, candidate.file)
    except ModelError as fault:
        return BackboneRow(candidate.backbone, candidate.file.origin, str(fault))
    size = train.store.preparation.image_size
    if size < backbone.min_size:
        reason = f"image_size {size}: it needs at least {backbone.min_size}"
        return BackboneRow(candidate.backbone, candidate.file.origin, reason)
    features, source = _bag_means(backbone, head, partial(_chunks, train, device, config.precision, watch))
    if not bool(features.isfinite().all()):
        return BackboneRow(candidate.backbone, candidate.file.origin, "its features are not all finite numbers")
    used = probe or partial(logistic_probe, widths=backbone.widths)
    values = cross_validate(features, train.targets, folds, used)
    mean, error = mean_and_error(values, folds)
    if not math.isfinite(mean):
        return BackboneRow(candidate.backbone, candidate.file.origin, "no fold could be measured")
    return BackboneRow(
        candidate.backbone,
        weights=candidate.file.origin,
        num_features=backbone.num_features,
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        auroc=mean,
        error=error,
        folds=values,
        logme=TRANSFERABILITY["logme"].function(features, train.targets),
        h_score=TRANSFERABILITY["h_score_regularised"].function(features, train.targets),
        leep=None if source is None else TRANSFERABILITY["leep"].function(source, train.targets),
        scores_reason=f"no LEEP: {no_head}" if no_head else "",
        seconds=time.monotonic() - started,
    )


def _load(backbone: Backbone, file: WeightsFile) -> tuple[SourceHead | None, str]:
    load_weights(backbone, file)
    return source_head(backbone, file)


def _bag_means(
    backbone: Backbone, head: SourceHead | None, chunks: Callable[[Backbone, str], Iterator[FeatureBags]]
) -> tuple[Tensor, Tensor | None]:
    """Features (n, F) and, where there is a head, source probabilities (n, Z): means over the slices of each bag.

    A head on pooled features works on the cached ones; one on the last map costs a second pass, whose probabilities
    are cached as features are.
    """
    features: list[Tensor] = []
    source: list[Tensor] = []
    with torch.inference_mode():
        for bags in chunks(backbone, "features"):
            features.append(_mean(bags.features, bags.mask))
            if head is not None and head.of == "features":
                found = head(bags.features[bags.mask][:, -backbone.widths[-1] :])
                source.append(_mean(pack(found, bags.mask), bags.mask))
        if head is not None and head.of == "map":
            network = SourceNetwork(backbone, head)
            source = [_mean(bags.features, bags.mask) for bags in chunks(network, "source classes")]
    return torch.cat(features), torch.cat(source) if source else None


def _chunks(
    train: LabelledSet, device: torch.device, precision: Precision, watch: Watch, backbone: Backbone, title: str
) -> Iterator[FeatureBags]:
    """What a network says of every slice, some bags at a time, so that memory does not grow with all slices."""
    classifier = SliceBagClassifier(backbone, 1, pooling="mean")
    bar = watch.bar(f"{backbone.name}, {title}", len(train.contents))
    for n in range(0, len(train.contents), CHUNK):
        part = train.contents[n : n + CHUNK]
        yield extract(classifier, train.store, part, device=device, precision=precision, progress=bar)


def _mean(bags: Tensor, mask: Tensor) -> Tensor:
    """Means (n, F) over the slices that are there, of bags (n, N, F) with zeros elsewhere."""
    return bags.sum(dim=1) / mask.sum(dim=1, keepdim=True)
