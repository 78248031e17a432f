"""Adaptation of a trained classifier on the target's unlabelled scans, undone where it collapses."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.alignment.adabn import batch_norms, recompute_statistics
from models.classifier import SliceBagClassifier, pack
from models.errors import AdaptationRefusedError, ModelError
from models.registry import lookup
from models.test_time import TEST_TIME
from models.test_time.adapter import MakeAdapter, adapting
from models.test_time.guards import collapse, require_shuffled
from pipeline.config import Precision, Task
from pipeline.learn.align_guard import LEAST_TARGETS, PrevalenceShift
from pipeline.learn.device import mixed
from pipeline.learn.target_stream import shuffled_batches
from pipeline.prepare.cache import SampleStore
from pipeline.watch import Watch


@dataclass(frozen=True, slots=True)
class TestTimeOutcome:
    """What became of an adaptation.

    Attributes:
        applied: Whether the classifier was changed; if not, it is as it was before, bit for bit.
        notes: For the report: what was done, or why it was refused.
    """

    applied: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Stream:
    classifier: SliceBagClassifier
    store: SampleStore
    contents: Sequence[str]
    device: torch.device
    precision: Precision


def adapt_test_time(
    name: str,
    classifier: SliceBagClassifier,
    store: SampleStore,
    contents: Sequence[str],
    *,
    device: torch.device,
    seed: int,
    task: Task = "multiclass",
    prevalence: PrevalenceShift | None = None,
    passes: int = 1,
    precision: Precision = "float32",
    watch: Watch | None = None,
) -> TestTimeOutcome:
    """Adapt normalisation layers on unlabelled scans, streamed in shuffled batches of at least 64 slices.

    After it batch norm's running statistics are those of the scans, since scoring, one series at a time, has no
    batch of its own. Where the predicted class mix has collapsed, the state from before is restored.

    Args:
        name: From `models.test_time.TEST_TIME`.
        classifier: Changed in place; left on `device` and in evaluation mode.
        contents: Content hashes of the target's scans, in any order.
        seed: Of the batches.
        task: Of the configuration; only multiclass predictions have the entropy that is minimised.
        prevalence: The finding on the target's class mix; None where it could not be tested.
        passes: How often the scans are gone through; the papers' way is once.
        precision: Of the steps; the class mix and the statistics are float32.

    Raises:
        UnknownNameError: If there is no such method.
    """
    make = lookup("test-time method", TEST_TIME, name)
    before = copy.deepcopy(classifier.state_dict())
    stream = _Stream(classifier, store, contents, device, precision)
    kept = False
    try:
        _require(len(contents), task, prevalence)
        classifier.to(device).to(memory_format=torch.channels_last)
        notes = _adapt(make, stream, seed, passes, watch or Watch())
        kept = True
    except (ModelError, torch.OutOfMemoryError) as error:
        reason = str(error) if isinstance(error, ModelError) else "the GPU's memory is full; take a smaller image_size"
        return TestTimeOutcome(False, (f"test-time {name} refused: {reason}; the model is as it was before",))
    finally:
        if not kept:
            classifier.load_state_dict(before)
        classifier.eval()
    untested = () if prevalence else (f"test-time {name}: whether the class mix differs could not be tested",)
    return TestTimeOutcome(True, (*(f"test-time {name}: {note}" for note in notes), *untested))


def _require(scans: int, task: Task, prevalence: PrevalenceShift | None) -> None:
    if task != "multiclass":
        raise AdaptationRefusedError(f"task {task} has no softmax whose entropy could be minimised")
    if scans < LEAST_TARGETS:
        raise AdaptationRefusedError(f"{scans} target scans, needed are at least {LEAST_TARGETS}")
    if prevalence is not None and prevalence.detected:
        raise AdaptationRefusedError("the target's class mix differs, which entropy minimisation makes worse")


def _adapt(make: MakeAdapter, stream: _Stream, seed: int, passes: int, watch: Watch) -> list[str]:
    """Adapt, bring the running statistics up to date, and look at the class mix."""
    classifier, device = stream.classifier, stream.device
    adapter = make(classifier)
    mix = _class_mix(stream, seed)
    bar = watch.bar("test-time adaptation", passes * len(stream.contents))
    entropies: list[float] = []
    with adapting(classifier, adapter.parameters):
        for number in range(passes):
            for bags in shuffled_batches(stream.store, stream.contents, seed=seed + number):
                require_shuffled(bags.index)
                slices, mask = bags.slices[bags.mask].to(device), bags.mask.to(device)

                def features(slices: Tensor = slices) -> Tensor:
                    with mixed(device, stream.precision):
                        return classifier.features(slices)

                entropies.append(adapter.step(features, mask))
                bar(len(bags.index))
    if batch_norms(classifier):
        batches = (b.slices[b.mask].to(device) for b in shuffled_batches(stream.store, stream.contents, seed=seed))
        recompute_statistics(classifier.backbone, classifier.features, batches)
    after = _class_mix(stream, seed)
    fault = collapse(mix, after)
    if fault:
        raise AdaptationRefusedError(f"it collapsed, {fault}")
    shown = f"mean entropy {entropies[0]:.3f} in the first batch, {entropies[-1]:.3f} in the last"
    return [f"{len(entropies)} steps; {shown}", *adapter.account(len(entropies))]


@torch.no_grad()
def _class_mix(stream: _Stream, seed: int) -> Tensor:
    """Share of each predicted class over the scans, shape (L,), in evaluation mode."""
    classifier, device = stream.classifier, stream.device
    classifier.eval()
    counts = torch.zeros(classifier.head.out_features)
    for bags in shuffled_batches(stream.store, stream.contents, seed=seed):
        mask = bags.mask.to(device)
        logits = classifier.classify(pack(classifier.features(bags.slices[bags.mask].to(device)), mask), mask)
        if not bool(logits.isfinite().all()):
            raise AdaptationRefusedError("a prediction is not a number")
        counts += torch.bincount(logits.argmax(dim=1).cpu(), minlength=len(counts))
    return counts / counts.sum()
