"""The parity seal: an engine is used only where it was seen to agree with eager float32 on this machine."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.detect.slices import Slices, in_batches
from pipeline.score.engines.engine import EngineError, EngineKind, Run, Slot
from pipeline.score.scan_models import ScanModel

VERSION = 1
FEWEST_SCANS = 8  # whose scores have to agree


@dataclass(frozen=True, slots=True)
class Seal:
    """What an engine showed on scans of this machine, against eager float32.

    Attributes:
        engine, bundle, machine: What it is of: a name, a bundle's digest, a machine's fingerprint.
        tolerance: Largest difference of a calibrated score that was allowed.
        worst: Largest one seen.
        scans, slices: What it was seen on.
        near: Share of them that lie within the tolerance of a threshold: these are computed again in eager float32.
        seconds, reference_seconds: For a slice, of the engine and of eager float32.
        files: Name to SHA-256 of what the engine exported.
        version: Of this record.
    """

    engine: str
    bundle: str
    machine: str
    tolerance: float
    worst: float
    scans: int
    slices: int
    near: float
    seconds: float
    reference_seconds: float
    files: dict[str, str]
    version: int = VERSION

    @property
    def cost(self) -> float:
        """Seconds for a slice, those computed twice included."""
        return self.seconds + self.near * self.reference_seconds


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Scans that engines are held against.

    Attributes:
        samples: Prepared scans, (N, C, S, S) each.
        rows: What eager float32 says of their slices, (N, K) each.
        seconds: It took for a slice.
    """

    samples: Sequence[Slices]
    rows: Sequence[Tensor]
    seconds: float

    @property
    def slices(self) -> int:
        """Number of slices in all."""
        return sum(map(len, self.samples))


def reference(model: ScanModel, samples: Sequence[Slices], slot: Slot) -> Reference:
    """Rows of the scans by eager float32."""
    rows, seconds = timed(model.network, samples, slot)
    return Reference(samples, rows, seconds)


def timed(run: Run, samples: Sequence[Slices], slot: Slot) -> tuple[list[Tensor], float]:
    """Rows of scans, and seconds for a slice; a batch of the slot's channels is run once more before, to warm up."""
    in_batches([sample for sample in samples if sample.shape[1] == slot.channels][:1], run, slot.device)
    started = time.perf_counter()
    rows = in_batches(samples, run, slot.device)
    return rows, (time.perf_counter() - started) / sum(map(len, samples))


def make_seal(
    kind: EngineKind, run: Run, model: ScanModel, known: Reference, slot: Slot, *, bundle: str, machine: str
) -> Seal:
    """Hold an engine against eager float32.

    Raises:
        EngineError: If a calibrated score differs by more than the tolerance or is not finite, or a decision differs
            for a scan that lies further than that from every threshold, or fewer than 8 scans are scored, not refused.
    """
    rows, seconds = timed(run, known.samples, slot)
    worst, near, scored = 0.0, 0, 0
    for ours, theirs in zip(rows, known.rows, strict=True):
        if not torch.isfinite(ours).all():
            raise EngineError(f"{kind.name}: gives a number that is not finite; not used")
        found, wanted = model.decide(ours), model.decide(theirs)
        close = model.near(ours, kind.tolerance)
        near += close
        if not close and (found.status, found.decision) != (wanted.status, wanted.decision):
            raise EngineError(f"{kind.name}: decides otherwise than eager float32; not used")
        if found.status == wanted.status == "scored":
            scored += 1
            worst = max(worst, *(abs(a - b) for a, b in zip(found.probability, wanted.probability, strict=True)))
        if worst > kind.tolerance:
            raise EngineError(f"{kind.name}: a score differs by {worst:.2g} from eager float32; not used")
    if scored < FEWEST_SCANS:
        raise EngineError(f"{kind.name}: {scored} scans with a score to make a seal with, {FEWEST_SCANS} are needed")
    count = len(known.samples)
    return Seal(
        engine=kind.name,
        bundle=bundle,
        machine=machine,
        tolerance=kind.tolerance,
        worst=worst,
        scans=count,
        slices=known.slices,
        near=near / count,
        seconds=seconds,
        reference_seconds=known.seconds,
        files=file_hashes(slot.folder, kind.files),
    )


def read_seal(path: Path, kind: EngineKind, folder: Path, *, bundle: str, machine: str) -> Seal:
    """A seal that holds here and now.

    Args:
        path: Its file.
        kind: Whose it has to be.
        folder: Where what the engine exported lies.
        bundle, machine: What it has to be of.

    Raises:
        EngineError: If there is none, it is of something else, or what it seals has changed.
    """
    try:
        seal = Seal(**json.loads(path.read_text(encoding="utf-8")))
        wanted = (VERSION, kind.name, bundle, machine, kind.tolerance, file_hashes(folder, kind.files))
    except (OSError, ValueError, TypeError) as error:
        raise EngineError(f"{kind.name}: no seal") from error
    if (seal.version, seal.engine, seal.bundle, seal.machine, seal.tolerance, seal.files) != wanted:
        raise EngineError(f"{kind.name}: its seal is of something else")
    if not (isinstance(seal.worst, float) and 0 <= seal.worst <= kind.tolerance):
        raise EngineError(f"{kind.name}: its seal makes no sense")
    return seal


def file_hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Name to SHA-256 of files in a folder."""
    found = {}
    for name in names:
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
