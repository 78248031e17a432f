"""Running a bundle over series: fixed batch shapes, so that a score depends on nothing but its own scan."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from models.bundle import Bundle, open_bundle
from models.classifier import SliceBagClassifier
from models.errors import BundleError
from pipeline.detect.slices import Slices
from pipeline.errors import Reason, ScanError
from pipeline.gate.header_check import check_headers
from pipeline.ingest.read import read_scan
from pipeline.learn.known_pictures import KnownPictures, copies_among
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import read_training_set
from pipeline.model_record import ModelRecord, read_record
from pipeline.prepare.samples import prepare
from pipeline.scan import SeriesRef
from pipeline.score.ledger import Ledger
from pipeline.score.outcome import Outcome
from pipeline.score.scan_models import ClassifierModel, ScanModel, load_model

VERSION = 4  # raised whenever the same scan and bundle would give another score
CHUNK_SLICES = 64
READERS = 1


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """A loaded bundle.

    Attributes:
        model: Its network, in evaluation mode.
        digest: The bundle's digest.
        device: Where the network runs.
        known: Pictures from its training, where it knows them.
    """

    model: ScanModel
    digest: str
    device: torch.device
    known: tuple[KnownPictures, ...] = ()

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
        outcomes = [self.model.decide(rows) for rows in self.model.rows(samples)]
        if not self.known:
            return outcomes
        copies = copies_among(samples, self.known, moved=False)
        return [replace(outcome, copy=bool(copy)) for outcome, copy in zip(outcomes, copies, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A scan that can be scored.

    Attributes:
        slices: Its sample.
        unfamiliar: What of its header training did not have, in words; empty for nothing.
    """

    slices: Slices
    unfamiliar: str = ""


def run_key(digest: str, device: torch.device) -> str:
    """What a ledger line is keyed by besides the scan: bundle, engine, device and code version."""
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
    """Score series chunk by chunk into the ledger; the next chunk is read while the network runs.

    Returns:
        Status to number of series.
    """
    counts: dict[str, int] = {}
    size = scorer.chunk_series
    chunks = [refs[n : n + size] for n in range(0, len(refs), size)]
    for chunk, prepared in _read_ahead(scorer, chunks):
        ready = {content: found for content, found in prepared.items() if isinstance(found, Ready)}
        outcomes = {content: found for content, found in prepared.items() if isinstance(found, Outcome)}
        scored = scorer.score([one.slices for one in ready.values()])
        for (content, one), outcome in zip(ready.items(), scored, strict=True):
            outcomes[content] = outcome.referred(one.unfamiliar)
        ledger.append(scorer.run_key, chunk_name(chunk), outcomes)
        for outcome in outcomes.values():
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        if progress:
            progress(len(chunk))
    return counts


def chunk_name(chunk: Sequence[SeriesRef]) -> str:
    """A chunk's name: a hash of what it holds."""
    return hashlib.sha256("|".join(ref.key for ref in chunk).encode()).hexdigest()[:16]


def _read_ahead(
    scorer: Scorer, chunks: Sequence[Sequence[SeriesRef]]
) -> Iterator[tuple[Sequence[SeriesRef], dict[str, Ready | Outcome]]]:
    def read(chunk: Sequence[SeriesRef]) -> dict[str, Ready | Outcome]:
        return {ref.key: _prepared(ref, scorer.record) for ref in chunk}

    with ThreadPoolExecutor(max_workers=READERS) as readers:
        coming = [readers.submit(read, chunk) for chunk in chunks[:2]]
        try:
            for n, chunk in enumerate(chunks):
                prepared = coming.pop(0).result()
                if n + 2 < len(chunks):
                    coming.append(readers.submit(read, chunks[n + 2]))
                yield chunk, prepared
        finally:
            for future in coming:
                future.cancel()


def _prepared(ref: SeriesRef, record: ModelRecord) -> Ready | Outcome:
    try:
        slices = prepare(read_scan(ref), record.preparation).slices
        header = check_headers(ref, record.headers)
        return Outcome("refused", header.refusal) if header.refusal else Ready(slices, header.referral)
    except ScanError as error:
        return Outcome("refused", str(error))
    except OSError as error:
        return Outcome("failed", f"{Reason.UNREADABLE}: {error.strerror or type(error).__name__}")
    except MemoryError:
        return Outcome("failed", f"{Reason.OVER_BUDGET}: not enough memory to read it now")
