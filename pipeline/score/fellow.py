"""Scoring by several processes, on one machine or many, that share source, bundle and state folder by path.

What they are given and what they return is plain text and numbers: no scan, no path of a scan and no error's own words
goes through whatever brings them together. Each writes a part of the ledger of its own.
"""

import functools
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import pipeline
from models.bundle import open_bundle
from models.errors import ModelError
from pipeline.errors import ClusterError, PipelineError
from pipeline.learn.device import choose_device
from pipeline.provenance import versions
from pipeline.score.engines.choose import AUTO
from pipeline.score.engines.for_run import choose_for
from pipeline.score.folder import HELLO, score_shard
from pipeline.score.ledger import Ledger
from pipeline.score.plan import LEDGER
from pipeline.score.ref_file import read_refs
from pipeline.score.scorer import load_scorer
from pipeline.watch import Watch
from pipeline.workspace import Workspace, whole_file

SHARE_SECONDS = 120  # a network share may show a new file a minute after it was made


@dataclass(frozen=True, slots=True)
class Job:
    """What all fellows work on.

    Attributes:
        bundle: Folder of the bundle.
        state: Folder of the ledger and of the engines.
        run: Folder of the run, with its shards.
        device: Where the network runs.
        engine: What runs it; empty takes the bundle's word.
        kept: What was chosen for all of them; one where it cannot be used takes another that is sealed there.
    """

    bundle: str
    state: str
    run: str
    device: str
    engine: str = ""
    kept: str = ""

    @property
    def space(self) -> Workspace:
        """The state folder."""
        return Workspace(Path(self.state))


def greet(job: Job) -> None:
    """Write a random word into the state folder: another folder at the same path, or a later run, has another."""
    with whole_file(Path(job.state) / HELLO, private=True) as file:
        file.write(secrets.token_hex(8))


def describe_fellow(job: Job) -> dict[str, str]:
    """What a process sees and is made of; equal records can score together.

    Returns:
        `state`, `bundle`: what lies at their paths, or in words why it cannot be used; `device`, the kind of processor
        that the ledger is keyed by; `code`, a hash of the modules that make a score; versions of the packages that do.
    """
    found = {"state": _state_seen(job), "bundle": _bundle_seen(job)}
    found |= {"device": choose_device(job.device).type, "code": code_digest()}
    return found | {name: value for name, value in versions().items() if name != "platform"}


def _state_seen(job: Job) -> str:
    trial = Path(job.state) / f".{secrets.token_hex(6)}.trial"
    try:
        word = _word(job)
        trial.touch()
        trial.unlink()
    except OSError as error:
        return f"cannot be used there ({error.strerror or type(error).__name__})"
    return word


def _word(job: Job) -> str:
    return (Path(job.state) / HELLO).read_text(encoding="ascii")


def _bundle_seen(job: Job) -> str:
    try:
        return open_bundle(Path(job.bundle)).digest
    except (ModelError, PipelineError, OSError) as error:
        return f"cannot be used there ({type(error).__name__})"


@functools.cache
def code_digest() -> str:
    """A hash of the source of `pipeline` and `models`, which a version number does not tell of a checkout."""
    digest = hashlib.sha256()
    for package in (models, pipeline):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def difference(own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """What keeps two processes from scoring together, in words; empty for nothing."""
    for name, here in own.items():
        there = other.get(name, "none")
        if here == there:
            continue
        if name in ("state", "bundle"):
            told = there if " " in there else "is another one there"
            return f"the {name} folder {told}; all must see the same one by the same path"
        return f"{name} is {there} there and {here} here"
    return ""


def settle_engine(job: Job, shard: str) -> dict[str, Any]:
    """Choose the engine that all fellows use, by the series of a shard.

    Returns:
        `engine`, empty where one is asked for by name, and `note`; or an error as of `work`.
    """
    return _told(functools.partial(_settled, job, Path(shard)))


def _settled(job: Job, shard: Path) -> dict[str, Any]:
    scorer = load_scorer(Path(job.bundle), choose_device(job.device))
    asked = job.engine or scorer.record.config.engine
    if asked != AUTO:
        return {"engine": "", "note": ""}
    ledger = Ledger(job.space.root / LEDGER)
    refs = read_refs(shard)
    kept = ledger.engine(scorer.run_key)
    chosen = choose_for(scorer, list(refs), asked, job.space.cache, kept=kept, series=refs.about["run_series"])
    return {"engine": chosen.text, "note": chosen.note}


def work(job: Job, shard: str, own: Mapping[str, str]) -> dict[str, Any]:
    """Score a shard into this process's part of the ledger.

    Args:
        job: The work.
        shard: Path of its file.
        own: `describe_fellow` of whoever asks; a process that differs from it does nothing.

    Returns:
        `part` and `counts`, status to number of series; or `error`, its kind, `words`, without identity, and
        `again`, whether it may pass next time.
    """
    return _told(functools.partial(_worked, job, Path(shard), dict(own)))


def _worked(job: Job, shard: Path, own: dict[str, str]) -> dict[str, Any]:
    if reason := difference(own, describe_fellow(job)):
        raise ClusterError(reason)
    part, watch = ledger_part(), Watch(bar=lambda _title, _total: functools.partial(_stop_if_over, job, own["state"]))
    counts = score_shard(
        shard,
        Path(job.bundle),
        job.space,
        device=job.device,
        engine=job.engine,
        kept=job.kept,
        watch=watch,
        part=part,
    )
    return {"part": part, "counts": counts}


def _stop_if_over(job: Job, word: str, _steps: int) -> None:
    """Leave a run, chunk by chunk, whose command was killed and started again: the later run scores the rest.

    Raises:
        ClusterError: If another run has begun in the state folder.
    """
    try:
        is_over = _word(job) != word
    except FileNotFoundError:
        is_over = True
    if is_over:
        raise ClusterError("another run has begun in the state folder")


def ledger_part() -> str:
    """Name of the ledger part of this thread; no thread or process, here or elsewhere, has the same."""
    return f"{_process_name(os.getpid())}-{threading.get_native_id()}"


@functools.cache
def _process_name(pid: int) -> str:
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
    return f"{host}-{pid}-{secrets.token_hex(4)}"


def _told(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an act returns, or its error as a record: an exception's words would stand in logs of whoever calls."""
    try:
        return act()
    except (PipelineError, ModelError) as error:
        again = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
        return {"error": type(error).__name__, "words": str(error), "again": again}
    except OSError as error:
        return {"error": type(error).__name__, "words": error.strerror or "", "again": True}
    except Exception as error:  # noqa: BLE001  the rim: its words may name a file
        return {"error": type(error).__name__, "words": "", "again": False}


def checked(shard: str, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer of `work` or `settle_engine`.

    Raises:
        ClusterError: If it tells an error.
    """
    if "error" in answer:
        told = answer["words"] if answer["error"] == ClusterError.__name__ else f"{answer['error']}: {answer['words']}"
        raise ClusterError(f"{Path(shard).stem}: {told.removesuffix(': ')}")
    return answer


def await_parts(job: Job, parts: Iterable[str], seconds: float = SHARE_SECONDS) -> None:
    """Wait until this machine sees the parts of the ledger that others wrote.

    Raises:
        ClusterError: If one is not there in time.
    """
    end = time.monotonic() + seconds
    missing = set(parts)
    while missing := missing - set(Ledger(job.space.root / LEDGER).parts):
        if time.monotonic() > end:
            raise ClusterError(
                f"{len(missing)} parts of the ledger, written elsewhere, do not show here in the state folder; "
                "is it the same share? Run the same command again to go on"
            )
        time.sleep(1)
