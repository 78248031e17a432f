"""Running a bundle over series: fixed batch shapes, so that a score depends on nothing but its own scan."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from models.bundle import Bundle, open_bundle
from models.classifier import SliceBagClassifier
from models.errors import BundleError
from pipeline.detect.slices import Slices
from pipeline.errors import Reason, ScanError
from pipeline.gate.header_check import check_headers
from pipeline.ingest.read import read_scan
from pipeline.ingest.stamp import changed
from pipeline.learn.known_pictures import KnownPictures, copies_among
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import read_training_set
from pipeline.model_record import ModelRecord, read_record
from pipeline.prepare.samples import prepare
from pipeline.scan import SeriesRef
from pipeline.score.engines.runner import Runner
from pipeline.score.ledger import Ledger
from pipeline.score.outcome import Outcome
from pipeline.score.passing import CHANGED, NO_MEMORY, told
from pipeline.score.scan_models import ClassifierModel, ScanModel, load_model

VERSION = 4  # raised whenever the same scan and bundle would give another score
CHUNK_SLICES = 64
READERS, AHEAD = 1, 2


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


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A scan that can be scored.

    Attributes:
        slices: Its sample.
        unfamiliar: What of its header training did not have, in words; empty for nothing.
        copy: Whether it looks like a copy of a scan from training.
    """

    slices: Slices
    unfamiliar: str = ""
    copy: bool = False


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


def pending(
    refs: Iterable[SeriesRef],
    ledger: Ledger,
    run_key: str,
    *,
    since: Mapping[str, int] | None = None,
    retry: bool = False,
) -> list[SeriesRef]:
    """Readable series that the ledger does not hold yet, in order, each content once.

    Args:
        refs: Series.
        ledger: What is done.
        run_key: Of the bundle and settings.
        since: Parts of the ledger that may hold these series, each with the byte before which it holds none.
        retry: Whether what was refused counts as not done.
    """
    again = ("failed", "refused") if retry else ("failed",)
    results = ledger.results(run_key, since)
    todo: dict[str, SeriesRef] = {}
    for ref in refs:
        if ref.status == "ok" and (ref.key not in results or results[ref.key].status in again):
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


def _scored(scorer: Scorer, read: Mapping[str, Ready | Outcome]) -> dict[str, Outcome]:
    """Outcomes of a chunk, in its order."""
    ready = {content: one for content, one in read.items() if isinstance(one, Ready)}
    try:
        found = scorer.runner.outcomes([one.slices for one in ready.values()])
    except MemoryError:
        found = [NO_MEMORY] * len(ready)
    outcomes = {content: one for content, one in read.items() if isinstance(one, Outcome)}
    for (content, one), outcome in zip(ready.items(), found, strict=True):
        outcomes[content] = replace(outcome.referred(one.unfamiliar), copy=one.copy)
    return {content: outcomes[content] for content in read}


def chunk_name(chunk: Sequence[SeriesRef]) -> str:
    """A chunk's name: a hash of what it holds."""
    return hashlib.sha256("|".join(ref.key for ref in chunk).encode()).hexdigest()[:16]


def _read_ahead(
    scorer: Scorer, chunks: Sequence[Sequence[SeriesRef]]
) -> Iterator[tuple[Sequence[SeriesRef], dict[str, Ready | Outcome]]]:
    """Chunks with their prepared scans; two are read ahead."""

    def read(chunk: Sequence[SeriesRef]) -> dict[str, Ready | Outcome]:
        found = {ref.key: ready_scan(ref, scorer.record) for ref in chunk}
        ready = {content: one for content, one in found.items() if isinstance(one, Ready)}
        copies = scorer.copies([one.slices for one in ready.values()])
        return found | {
            content: replace(one, copy=copy) for (content, one), copy in zip(ready.items(), copies, strict=True)
        }

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


def ready_scan(ref: SeriesRef, record: ModelRecord) -> Ready | Outcome:
    """A series that can be scored, or why it cannot.

    What was read from a file that has changed since it was listed is not what the ledger would name it by: it failed,
    whatever came of it.
    """
    found = _judged(ref, record)
    return CHANGED if changed(ref) else found


def _judged(ref: SeriesRef, record: ModelRecord) -> Ready | Outcome:
    try:
        slices = prepare(read_scan(ref), record.preparation).slices
        header = check_headers(ref, record.headers)
        return Outcome("refused", header.refusal) if header.refusal else Ready(slices, header.referral)
    except ScanError as error:
        return told(error)
    except OSError as error:
        return Outcome("failed", f"{Reason.UNREADABLE}: {error.strerror or type(error).__name__}")
    except MemoryError:
        return NO_MEMORY
