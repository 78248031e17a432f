"""Running a bundle over series: fixed batch shapes, so that a score depends on nothing but its own scan."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from models.bundle import Bundle, open_bundle
from models.classifier import SliceBagClassifier
from models.errors import BundleError
from pipeline.detect.slices import Slices
from pipeline.errors import Reason, ScanError
from pipeline.ingest.read import read_scan
from pipeline.learn.known_pictures import KnownPictures, copies_among
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import read_training_set
from pipeline.model_record import ModelRecord, read_record
from pipeline.prepare.samples import prepare
from pipeline.scan import SeriesRef
from pipeline.score.engines.runner import Runner
from pipeline.score.ledger import Ledger
from pipeline.score.outcome import Outcome
from pipeline.score.scan_models import ClassifierModel, ScanModel, load_model

VERSION = 3  # raised whenever the same scan and bundle would give another score
CHUNK_SLICES = 64
READERS, AHEAD = 1, 2
NO_MEMORY = Outcome("failed", f"{Reason.OVER_BUDGET}: not enough memory to score it now")


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """A loaded bundle.

    Attributes:
        model: Its network, in evaluation mode.
        digest: The bundle's digest.
        device: Where the network runs.
        known: Pictures from its training, where it knows them.
        runner: What runs the network; eager float32 by default.
    """

    model: ScanModel
    digest: str
    device: torch.device
    known: tuple[KnownPictures, ...] = ()
    runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "runner", Runner(self.model, self.device))

    @property
    def record(self) -> ModelRecord:
        """What the bundle says of itself."""
        return self.model.record

    @property
    def run_key(self) -> str:
        """See `run_key`."""
        return run_key(self.digest, self.device)

    @property
    def chunk_series(self) -> int:
        """Series in a chunk, the unit of the ledger."""
        return max(1, CHUNK_SLICES // self.record.preparation.slices)

    @property
    def classifier(self) -> SliceBagClassifier:
        """The classifier of a bundle that holds one.

        Raises:
            BundleError: If it holds a detector.
        """
        if not isinstance(self.model, ClassifierModel):
            raise BundleError("a bundle of an anomaly detector holds no classifier")
        return self.model.classifier

    def score(self, samples: Sequence[Slices]) -> list[Outcome]:
        """Score prepared samples (N, C, S, S) each, and mark those that are copies of scans from training.

        Copies that were turned or cropped as well are not looked for, which would take four times as long.
        """
        found = zip(self.runner.outcomes(samples), self.copies(samples), strict=True)
        return [replace(outcome, copy=True) if copy else outcome for outcome, copy in found]

    def copies(self, samples: Sequence[Slices]) -> list[bool]:
        """Which prepared samples are copies of scans from training."""
        if not self.known:
            return [False] * len(samples)
        return [bool(copy) for copy in copies_among(samples, self.known, moved=False)]


def run_key(digest: str, device: torch.device) -> str:
    """What a ledger line is keyed by besides the scan: bundle, device and code version.

    The engine is not part of it, since each is sealed: what one has scored is not scored again by another.
    """
    return hashlib.sha256(f"{digest}|eager|{device.type}|{VERSION}".encode()).hexdigest()[:24]


def load_scorer(bundle: Path, device: torch.device) -> Scorer:
    """Open a bundle for scoring.

    Raises:
        BundleError: If it is incomplete or altered.
    """
    opened = open_bundle(bundle)
    record = read_record(opened)
    return Scorer(load_model(opened, record, device), opened.digest, device, _known_pictures(opened))


def _known_pictures(bundle: Bundle) -> tuple[KnownPictures, ...]:
    there = (bundle.folder / TRAINING_SET).is_file()
    return tuple(read_training_set(bundle).all_pictures()) if there else ()


def pending(refs: Sequence[SeriesRef], ledger: Ledger, run_key: str) -> list[SeriesRef]:
    """Readable series that the ledger does not hold yet, in order, each content once."""
    done = ledger.done(run_key)
    todo: dict[str, SeriesRef] = {}
    for ref in refs:
        if ref.status == "ok" and ref.key not in done:
            todo.setdefault(ref.key, ref)
    return list(todo.values())


def score_series(
    scorer: Scorer, refs: Sequence[SeriesRef], ledger: Ledger, progress: Callable[[int], None] | None = None
) -> Mapping[str, int]:
    """Score series chunk by chunk into the ledger; the next ones are read while the network runs.

    Returns:
        Status to number of series.
    """
    counts: Counter[str] = Counter()
    size = scorer.chunk_series
    chunks = [refs[n : n + size] for n in range(0, len(refs), size)]
    for chunk, read in _read_ahead(scorer, chunks):
        outcomes = _scored(scorer, read)
        ledger.append(scorer.run_key, chunk_name(chunk), outcomes, scorer.runner.engine.text)
        counts.update(outcome.status for outcome in outcomes.values())
        if progress:
            progress(len(chunk))
    return dict(counts)


def _scored(scorer: Scorer, read: Mapping[str, "_Read"]) -> dict[str, Outcome]:
    """Outcomes of a chunk, in its order."""
    samples = {content: slices for content, (slices, _) in read.items() if not isinstance(slices, Outcome)}
    try:
        found = dict(zip(samples, scorer.runner.outcomes(list(samples.values())), strict=True))
    except MemoryError:
        found = dict.fromkeys(samples, NO_MEMORY)
    outcomes = {}
    for content, (slices, copy) in read.items():
        outcome = slices if isinstance(slices, Outcome) else found[content]
        outcomes[content] = replace(outcome, copy=True) if copy else outcome
    return outcomes


def chunk_name(chunk: Sequence[SeriesRef]) -> str:
    """A chunk's name: a hash of what it holds."""
    return hashlib.sha256("|".join(ref.key for ref in chunk).encode()).hexdigest()[:16]


_Read = tuple[Slices | Outcome, bool]


def _read_ahead(
    scorer: Scorer, chunks: Sequence[Sequence[SeriesRef]]
) -> Iterator[tuple[Sequence[SeriesRef], dict[str, _Read]]]:
    """Chunks with their prepared scans, and whether each is a copy of one from training; two are read ahead."""

    def read(chunk: Sequence[SeriesRef]) -> dict[str, _Read]:
        prepared = {ref.key: prepared_scan(ref, scorer.record) for ref in chunk}
        samples = {content: slices for content, slices in prepared.items() if not isinstance(slices, Outcome)}
        copies = dict(zip(samples, scorer.copies(list(samples.values())), strict=True))
        return {content: (slices, copies.get(content, False)) for content, slices in prepared.items()}

    with ThreadPoolExecutor(READERS, initializer=torch.set_num_threads, initargs=(1,)) as readers:
        coming = [readers.submit(read, chunk) for chunk in chunks[:AHEAD]]
        try:
            for n, chunk in enumerate(chunks):
                found = coming.pop(0).result()
                if n + AHEAD < len(chunks):
                    coming.append(readers.submit(read, chunks[n + AHEAD]))
                yield chunk, found
        finally:
            for future in coming:
                future.cancel()


def prepared_scan(ref: SeriesRef, record: ModelRecord) -> Slices | Outcome:
    """A series as the network takes it, (N, C, S, S), or why it cannot be scored."""
    try:
        return prepare(read_scan(ref), record.preparation).slices
    except ScanError as error:
        return Outcome("refused", str(error))
    except OSError as error:
        return Outcome("failed", f"{Reason.UNREADABLE}: {error.strerror or type(error).__name__}")
    except MemoryError:
        return NO_MEMORY
