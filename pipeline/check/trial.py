"""A bundle held against the series: is each of its kind, was it in training, and how quick is the network?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.bundle import open_bundle
from models.errors import BundleError
from pipeline.check.chain import ChainStep
from pipeline.check.records import BundleFacts, Timing
from pipeline.check.row import Seen
from pipeline.check.timing import SampleShelf, with_network
from pipeline.detect.slices import Slices
from pipeline.learn.device import choose_device
from pipeline.learn.leakage import FILE, TrainingSet, parse_training_set
from pipeline.prepare.intensity import value_range
from pipeline.prepare.samples import Preparation, check_applicable, prepare
from pipeline.scan import Scan, SeriesRef
from pipeline.score.scorer import Scorer, load_scorer


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A loaded bundle.

    Attributes:
        scorer: Its network and record.
        training: Who was in training; None where the bundle does not say.
    """

    scorer: Scorer
    training: TrainingSet | None

    @property
    def facts(self) -> BundleFacts:
        """What is told of the bundle."""
        wanted = self.scorer.record.preparation
        return BundleFacts(
            digest=self.scorer.digest,
            kind=wanted.kind,
            modality=wanted.modality,
            classes=self.scorer.record.classes,
            knows_training_set=self.training is not None,
        )

    def seen(self, ref: SeriesRef) -> Seen | None:
        """Whether a series was in training; None where the bundle does not say."""
        if self.training is None:
            return None
        patient = self.training.saw_patient(ref.patient) if ref.patient else None
        return Seen(patient, self.training.saw_series(ref.key))

    def require_applicable(self, ref: SeriesRef) -> None:
        """Check kind and modality of a series that is not read.

        Raises:
            ScanError: `NOT_APPLICABLE`.
        """
        nothing = np.broadcast_to(np.float32(0), ref.shape or (1, 1, ref.images))
        check_applicable(Scan(nothing, np.eye(4), ref.modality, ref.series_uid), self.scorer.record.preparation)

    def new_shelf(self) -> SampleShelf:
        """An empty shelf for samples to time the network on."""
        return SampleShelf()

    def timed(self, timing: Timing, shelf: SampleShelf, refs: Sequence[SeriesRef]) -> Timing:
        """A timing with the network's share for scoring these series."""
        return with_network(timing, self.scorer, shelf.samples, refs)

    def prepare(self, scan: Scan) -> Slices:
        """Prepare a scan as scoring does.

        Raises:
            ScanError: If scoring would refuse it.
        """
        return prepare(scan, self.scorer.record.preparation).slices

    def preparation_steps(self, scan: Scan) -> tuple[ChainStep, ...]:
        """What preparation does with a scan that it accepts."""
        wanted = self.scorer.record.preparation
        low, high = value_range(scan, wanted.intensity, wanted.window)
        placed = scan.geometry == "patient"
        return (
            ChainStep(
                "orientation",
                "axes flipped and swapped to left, back, up; nothing interpolated" if placed else "as stored",
            ),
            ChainStep("resampling", f"each slice to {wanted.image_size} x {wanted.image_size}, bilinear, antialiased"),
            ChainStep("slices", _slice_words(scan.voxels.shape[2], wanted)),
            ChainStep("intensity", f"{low:g} to {high:g} become 0 to 1 (rule: {wanted.intensity})"),
        )


def load_trial(bundle: Path, device: str) -> Trial:
    """Open a bundle and load its network.

    Raises:
        BundleError: If it is incomplete, altered, or its training set makes no sense.
    """
    scorer = load_scorer(bundle, choose_device(device))
    try:
        training = parse_training_set(open_bundle(bundle).text(FILE))
    except FileNotFoundError:
        return Trial(scorer, None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{bundle}: {FILE} is not readable") from error
    return Trial(scorer, training)


def _slice_words(images: int, wanted: Preparation) -> str:
    if images > wanted.slices:
        return f"{images} averaged into {wanted.slices} slabs"
    return f"{images}, as they are (at most {wanted.slices})"
