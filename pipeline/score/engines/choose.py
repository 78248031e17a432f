"""Which engine runs a bundle here: the one that was asked for or used before, else the fastest that gets a seal."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from models.registry import lookup
from pipeline.detect.slices import SCORING_BATCH, Slices
from pipeline.score.engines.engine import AGAIN_BATCH, REFERENCE, Engine, EngineError, EngineKind, Run, Slot
from pipeline.score.engines.exports import discard, export
from pipeline.score.engines.machine import machine_id
from pipeline.score.engines.openvino_engines import OPENVINO, OPENVINO_BFLOAT16
from pipeline.score.engines.seal import FEWEST_SCANS, VERSION, Reference, Seal, make_seal, read_seal, reference
from pipeline.score.engines.torch_engines import AMP, COMPILE, EAGER
from pipeline.score.scan_models import ScanModel
from pipeline.workspace import write_json

AUTO = "auto"
KINDS = {kind.name: kind for kind in (EAGER, AMP, COMPILE, OPENVINO, OPENVINO_BFLOAT16)}
NAMES = (AUTO, *KINDS)
WORTH_SLICES = 1000  # fewer are scored before another engine is exported and sealed
COMPILE_SLICES = 20_000  # fewer are scored before torch.compile is done
SEAL_SCANS, SEAL_SLICES = 64, 256
CHOICE = "choice.json"

Scans = Callable[[int, int], Sequence[Slices]]


@dataclass(frozen=True, slots=True, eq=False)
class EngineRoom:
    """A bundle's engines on one machine.

    Attributes:
        model: The bundle's model on its device.
        digest: The bundle's.
        cache: Where engines are kept.
        device: Where the network runs.
    """

    model: ScanModel
    digest: str
    cache: Path
    device: torch.device

    @property
    def folder(self) -> Path:
        """Where the bundle's engines of this machine lie."""
        return self.cache / "engines" / f"{self.digest[:16]}-{machine_id(self.device)}"

    def choose(self, asked: str, *, kept: str, scans: Scans, slices: int) -> Engine:
        """The engine of a run.

        Args:
            asked: One of `NAMES`.
            kept: The engine that scored earlier series of the same run, as the ledger has it; empty for none.
            scans: Gives at most so many prepared scans of at most so many slices, to make a seal with.
            slices: How many slices are to be scored.

        Raises:
            EngineError: If an engine that was asked for by name cannot be used here.
        """
        name, _, batch = kept.partition(":")
        if asked != AUTO:
            kind = lookup("engine", KINDS, asked)
            return self._sealed(kind, self._scans_once(scans))[0]
        if batch.isdecimal() and name == REFERENCE:
            return Engine(batch=max(1, min(SCORING_BATCH, int(batch))))
        known = self._scans_once(scans)
        little = name == REFERENCE and slices >= WORTH_SLICES  # eager then, because there was little to score
        for before in (*([] if little else [name]), self._chosen()):
            if before in KINDS:
                try:
                    return self._sealed(KINDS[before], known)[0]
                except EngineError as error:
                    logging.getLogger(__name__).info("%s", error)
        if slices < WORTH_SLICES:
            return Engine()
        return self._measured(known, slices)

    def _scans_once(self, scans: Scans) -> Callable[[], Reference]:
        found: list[Reference] = []

        def known() -> Reference:
            if not found:
                samples = scans(SEAL_SCANS, SEAL_SLICES)
                if len(samples) < FEWEST_SCANS:
                    raise EngineError(f"{len(samples)} readable scans to make a seal with, {FEWEST_SCANS} are needed")
                try:
                    found.append(reference(self.model, samples, self._slot(EAGER, _channels(samples))))
                except (MemoryError, RuntimeError) as error:
                    raise EngineError(f"eager float32 failed on {len(samples)} scans to make a seal with") from error
            return found[0]

        return known

    def _measured(self, known: Callable[[], Reference], slices: int) -> Engine:
        """Seal every engine that can be used, and take the one that costs least."""
        best: tuple[Engine, float] | None = None
        said: list[str] = []
        try:
            eager = known().seconds
        except EngineError:
            return Engine()
        for kind in KINDS.values():
            if kind is EAGER or kind.missing(self.device) or (kind is COMPILE and slices < COMPILE_SLICES):
                continue
            try:
                engine, seal = self._sealed(kind, known)
            except EngineError as error:
                said.append(str(error))
                continue
            if seal is not None:
                said.append(f"{kind.name} {1 / seal.cost:.0f} slices a second")
                if seal.cost < (best[1] if best else eager):
                    best = engine, seal.cost
        chosen = best[0] if best else Engine()
        self._keep(self.folder / CHOICE, {"engine": chosen.name, "version": VERSION})
        return replace(chosen, note=f"engine {chosen.name} (eager {1 / eager:.0f} slices a second; {'; '.join(said)})")

    def _chosen(self) -> str:
        try:
            choice = json.loads((self.folder / CHOICE).read_text(encoding="utf-8"))
            return str(choice["engine"]) if choice["version"] == VERSION else ""
        except (OSError, ValueError, TypeError, KeyError):
            return ""

    def _sealed(
        self, kind: EngineKind, known: Callable[[], Reference], *, batch: int = SCORING_BATCH
    ) -> tuple[Engine, Seal | None]:
        """An engine for batches of a size with its seal, made now where there is none.

        Raises:
            EngineError: If it cannot be used here, or gets no seal.
        """
        if kind is EAGER:
            return Engine(), None
        if reason := kind.missing(self.device):
            raise EngineError(f"{kind.name}: {reason}")
        exact, again_seconds = self._exact(kind, known)
        names = {"bundle": self.digest, "machine": machine_id(self.device)}
        for channels in (1, 3):
            slot = self._slot(kind, channels, batch)
            try:
                seal = read_seal(self._seal_path(kind, slot), kind, slot.folder, **names)
            except EngineError:
                continue
            with _failing(kind):
                return _engine(kind, kind.load(self.model.network, slot), seal, slot, exact), seal
        against = known()
        slot = self._slot(kind, _channels(against.samples), batch)
        with _failing(kind):
            export(kind, self.model.network, slot)
            try:
                run = kind.load(self.model.network, slot)
                seal = make_seal(kind, run, self.model, against, slot, again_seconds=again_seconds, **names)
            except Exception:  # whatever it was is raised again; files without a seal do not stay
                if not self._vouched(kind, slot, **names):
                    discard(kind, slot)
                raise
        self._keep(self._seal_path(kind, slot), asdict(seal))
        return _engine(kind, run, seal, slot, exact), seal

    def _exact(self, kind: EngineKind, known: Callable[[], Reference]) -> tuple[Engine | None, float | None]:
        """What computes again where a kind leaves doubt, and its seconds for a slice; none for eager float32.

        Raises:
            EngineError: If it cannot be used.
        """
        if kind.exact == REFERENCE:
            return None, None
        engine, seal = self._sealed(KINDS[kind.exact], known, batch=AGAIN_BATCH)
        return engine, seal.seconds if seal else None

    def _vouched(self, kind: EngineKind, slot: Slot, **names: str) -> bool:
        """Whether another kind, which uses the same exported files, has a seal on them."""
        for other in KINDS.values():
            if other.files == kind.files:
                with contextlib.suppress(EngineError):
                    read_seal(self._seal_path(other, slot), other, slot.folder, **names)
                    return True
        return False

    def _keep(self, path: Path, record: dict[str, Any]) -> None:
        """Write what saves the next run some time; it is found anew where it cannot be written."""
        try:
            write_json(path, record)
        except OSError as error:
            logging.getLogger(__name__).info("%s is not kept: %s", path.name, error.strerror)

    def _seal_path(self, kind: EngineKind, slot: Slot) -> Path:
        batch = "" if slot.batch == SCORING_BATCH else f"-{slot.batch}"
        return self.folder / f"{kind.name}-{slot.channels}{batch}.json"

    def _slot(self, kind: EngineKind, channels: int, batch: int = SCORING_BATCH) -> Slot:
        """Kinds that export the same files share a folder."""
        shared = "-".join(kind.files) or kind.name
        folder = self.folder / f"{shared}-{channels}"
        return Slot(folder, self.device, channels, self.model.record.preparation.image_size, batch)


def _engine(kind: EngineKind, run: Run, seal: Seal, slot: Slot, exact: Engine | None) -> Engine:
    return Engine(
        kind.name,
        kind.tolerance,
        run,
        batch=slot.batch,
        channels=slot.channels,
        reach=seal.reach,
        exact=exact,
    )


@contextlib.contextmanager
def _failing(kind: EngineKind) -> Iterator[None]:
    """Whatever an engine raises says that it cannot be used here: a compiler's error, a full disk, short memory."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:  # engines are others' code, and what they raise has no common base
        logging.getLogger(__name__).debug("%s failed", kind.name, exc_info=True)
        raise EngineError(f"{kind.name}: cannot be used here ({type(error).__name__})") from error


def _channels(samples: Sequence[Slices]) -> int:
    return max(int(sample.shape[1]) for sample in samples)
