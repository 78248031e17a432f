"""The parity seal: an engine is used only where it was seen to agree with eager float32 on this machine."""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.detect.slices import Slices, in_batches
from pipeline.score.engines.engine import REDUCED, EngineError, EngineKind, Run, Slot
from pipeline.score.scan_models import ScanModel

VERSION = 2
FEWEST_SCANS = 8  # whose scores have to agree
LONG_SECONDS = 10.0
MARGIN = 1.25  # of what an engine may be off beyond what was seen


@dataclass(frozen=True, slots=True)
class Seal:
    """What an engine showed on scans of this machine, against eager float32.

    Attributes:
        engine, bundle, machine: What it is of: a name, a bundle's digest, a machine's fingerprint.
        tolerance: Largest difference of a calibrated score that was allowed.
        worst: Largest one seen.
        scans, slices: What it was seen on.
        reach: How far latent numbers (`ScanModel.latent`) may be off: 1.25 times the most that was seen, of reduced
            precision; 0 of float32.
        again: Share of them that were in doubt, see `in_doubt`: these are computed again.
        seconds, again_seconds: For a slice, of the engine and of what computes again.
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
    reach: float
    again: float
    seconds: float
    again_seconds: float
    files: dict[str, str]
    version: int = VERSION

    @property
    def cost(self) -> float:
        """Seconds for a slice, those computed twice included."""
        return self.seconds + self.again * self.again_seconds


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
    """Rows of scans, and seconds for a slice: the better of two times, or the only one where it takes long.

    A batch of the slot's channels is run once more before, to warm up.
    """
    in_batches(
        [sample for sample in samples if sample.shape[1] == slot.channels][:1], run, slot.device, batch=slot.batch
    )
    best = math.inf
    for _ in range(2):
        started = time.perf_counter()
        rows = in_batches(samples, run, slot.device, batch=slot.batch)
        best = min(best, time.perf_counter() - started)
        if best > LONG_SECONDS:
            break
    return rows, best / sum(map(len, samples))


def in_doubt(model: ScanModel, rows: Tensor, tolerance: float, reach: float) -> bool:
    """Whether a scan has to be computed again by something more exact.

    So where scores within the tolerance could decide otherwise, or where latent numbers that are off by up to `reach`
    move a calibrated score by more than the tolerance.
    """
    return model.near(rows, tolerance) or (reach > 0 and model.moved(rows, reach) > tolerance)


def make_seal(
    kind: EngineKind,
    run: Run,
    model: ScanModel,
    known: Reference,
    slot: Slot,
    *,
    bundle: str,
    machine: str,
    again_seconds: float | None = None,
) -> Seal:
    """Hold an engine against eager float32.

    Args:
        again_seconds: For a slice, of what computes again; eager float32 where not given.

    Raises:
        EngineError: If a number is not finite; if, of a scan that is not in doubt, a calibrated score differs by more
            than the tolerance or the decision differs; if more than half of the scans are in doubt; or if fewer than
            8 scans are scored, not refused, or not in doubt.
    """
    rows, seconds = timed(run, known.samples, slot)
    if not all(torch.isfinite(ours).all() for ours in rows):
        raise EngineError(f"{kind.name}: gives a number that is not finite; not used")
    pairs = list(zip(rows, known.rows, strict=True))
    scored = [pair for pair in pairs if model.decide(pair[1]).status == "scored"]
    if len(scored) < FEWEST_SCANS:
        raise EngineError(
            f"{kind.name}: {len(scored)} scans with a score to make a seal with, {FEWEST_SCANS} are needed"
        )
    reach = MARGIN * max(_apart(model, *pair) for pair in scored) if kind.tolerance == REDUCED else 0.0
    sure = [pair for pair in pairs if not in_doubt(model, pair[0], kind.tolerance, reach)]
    if 2 * len(sure) < len(pairs) or len(sure) < FEWEST_SCANS:
        raise EngineError(f"{kind.name}: leaves {len(pairs) - len(sure)} of {len(pairs)} scans in doubt; not used")
    worst, fault = _compared(model, sure, kind.tolerance)
    if fault:
        raise EngineError(f"{kind.name}: {fault}; not used")
    return Seal(
        engine=kind.name,
        bundle=bundle,
        machine=machine,
        tolerance=kind.tolerance,
        worst=worst,
        scans=len(pairs),
        slices=known.slices,
        reach=reach,
        again=1 - len(sure) / len(pairs),
        seconds=seconds,
        again_seconds=known.seconds if again_seconds is None else again_seconds,
        files=file_hashes(slot.folder, kind.files),
    )


def _apart(model: ScanModel, ours: Tensor, theirs: Tensor) -> float:
    return float(np.abs(model.latent(ours) - model.latent(theirs)).max())


def _compared(model: ScanModel, pairs: Sequence[tuple[Tensor, Tensor]], tolerance: float) -> tuple[float, str]:
    """The largest difference of a calibrated score, and in words what is too much; empty where nothing is."""
    worst = 0.0
    for ours, theirs in pairs:
        found, wanted = model.decide(ours), model.decide(theirs)
        if (found.status, found.decision) != (wanted.status, wanted.decision):
            return worst, "decides otherwise than eager float32"
        if wanted.status == "scored":
            worst = max(worst, *(abs(a - b) for a, b in zip(found.probability, wanted.probability, strict=True)))
    return worst, f"a score differs by {worst:.2g} from eager float32" if worst > tolerance else ""


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
    numbers = (seal.worst, seal.reach)
    if not all(isinstance(n, float) and 0 <= n < math.inf for n in numbers) or seal.worst > kind.tolerance:
        raise EngineError(f"{kind.name}: its seal makes no sense")
    return seal


def file_hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Name to SHA-256 of files in a folder."""
    found = {}
    for name in names:
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
