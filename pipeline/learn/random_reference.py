"""What pretraining is worth: the same head on the same network with random weights, fitted and measured beside."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.backbones import build_backbone
from models.bundle import Bundle
from models.classifier import SliceBagClassifier
from models.strategies.linear_probe import linear_probe
from pipeline.learn.calibration import fit_temperature
from pipeline.learn.checkpoint import Checkpoint
from pipeline.learn.features import backbone_digest
from pipeline.learn.fit import Fit, LabelledSet, macro_auroc
from pipeline.learn.objective import probabilities
from pipeline.learn.plan import Plan
from pipeline.learn.predictions import predict_logits
from pipeline.model_record import RANDOM_HEAD, ModelRecord, RandomReference, top_state
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.watch import Watch


@dataclass(frozen=True, slots=True, eq=False)
class FittedReference:
    """The reference as it was fitted.

    Attributes:
        reference: What the bundle records of it.
        probability: Calibrated probabilities on the validation rows, shape (n, L).
        head: Tensors above the backbone, for the bundle.
    """

    reference: RandomReference
    probability: torch.Tensor
    head: dict[str, torch.Tensor]


def fit_reference(
    plan: Plan, train: LabelledSet, val: LabelledSet, checkpoint: Checkpoint, watch: Watch
) -> FittedReference:
    """Fit a linear probe on the plan's network with random weights."""
    backbone = build_backbone(plan.config.backbone, seed=plan.config.seed, variant=plan.classifier.backbone.variant)
    classifier = SliceBagClassifier(backbone, len(plan.cohort.classes), pooling=plan.pooling, seed=plan.config.seed)
    checksum = backbone_digest(classifier)
    quiet = Watch(bar=lambda title, total: watch.bar(f"random weights: {title}", total))
    Fit(
        classifier,
        train=train,
        val=val,
        config=plan.config,
        device=plan.device,
        checkpoint=checkpoint,
        watch=quiet,
    ).run(linear_probe(classifier))
    checkpoint.remove()
    logits = predict_logits(
        classifier, val.store, plan.cohort.side("val"), device=plan.device, watch=quiet, title="validation rows"
    )
    task = plan.config.task
    temperature = fit_temperature(logits, val.targets, task)
    probability = probabilities(logits, task, temperature)
    reference = RandomReference(
        seed=plan.config.seed,
        torch=torch.__version__,
        checksum=checksum,
        temperature=temperature,
        val_auroc=macro_auroc(probability, val.targets),
    )
    return FittedReference(reference, probability, top_state(classifier.cpu()))


def reference_probability(
    cases: Sequence[Case],
    bundle: Bundle,
    record: ModelRecord,
    store: SampleStore,
    device: torch.device,
    watch: Watch,
) -> tuple[torch.Tensor | None, str]:
    """Probabilities of a bundle's reference on other cases, its network drawn again from the seed.

    Returns:
        Calibrated probabilities (n, L) and an empty text; or None and why they cannot be made.
    """
    reference = record.random_reference
    if reference is None:
        return None, "the bundle holds no reference on random weights"
    backbone = build_backbone(record.backbone, seed=reference.seed, variant=record.variant)
    classifier = SliceBagClassifier(backbone, len(record.classes), pooling=record.pooling, seed=reference.seed)
    if backbone_digest(classifier) != reference.checksum:
        return None, f"torch {torch.__version__} draws other random weights than torch {reference.torch} did"
    classifier.load_state_dict(bundle.tensors(RANDOM_HEAD), strict=False)
    logits = predict_logits(classifier, store, cases, device=device, watch=watch, title="the same on random weights")
    return probabilities(logits, record.task, reference.temperature), ""
