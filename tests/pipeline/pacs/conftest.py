"""A listener in this process, and one in a process of its own."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.pacs.limits import Limits, Room
from pipeline.pacs.listener import Address, Listener
from pipeline.pacs.peers import Peer
from pipeline.pacs.store import IncomingStore

MODALITY = (Peer("MODALITY"),)
SCANSHIFT = Path(sys.executable).with_name("scanshift")


@dataclass
class Running:
    """A listener that runs, and what it said."""

    listener: Listener
    store: IncomingStore
    port: int
    said: list[str] = field(default_factory=list)

    @property
    def files(self):
        """What lies under a final name."""
        return sorted(self.store.folder.glob("*/*.dcm"))

    @property
    def unfinished(self):
        """What lies where objects are received."""
        return list(self.store.receiving.iterdir())


@pytest.fixture
def listening(tmp_path):
    """Starts listeners on a free port of loopback, for MODALITY unless told otherwise."""
    started = []

    def start(*, peers=MODALITY, limits=None, **room):
        store = IncomingStore(tmp_path / "incoming", "listen")
        said = []
        listener = Listener(
            store,
            Address("SCANSHIFT", port=0),
            peers=peers,
            limits=limits or Limits(idle_seconds=20),
            room=Room(store.folder, **{"reserve_bytes": 0, **room}),
            say=said.append,
        )
        started.append(Running(listener, store, listener.start(), said))
        return started[-1]

    yield start
    for running in started:
        running.listener.stop(grace=0)


@pytest.fixture
def command(tmp_path):
    """Starts `scanshift listen` in a process of its own; gives it and its port."""
    processes = []

    def start(folder, *arguments):
        told = ["--port", "0", "--allow", "MODALITY@127.0.0.1", "--reserve-gib", "0", *arguments]
        process = subprocess.Popen(
            [SCANSHIFT, "listen", folder, *told],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        processes.append(process)
        line = process.stderr.readline()
        assert line.startswith("listening on 127.0.0.1 port "), line
        return process, int(line.split()[4])

    yield start
    for process in processes:
        process.kill()
        process.communicate()
