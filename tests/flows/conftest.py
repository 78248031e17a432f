"""The command line as a user runs it, in processes of its own, and one planted site that all tests look at."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest

from flows import cli, commands, shift_command
from flows.seal import SealedError, sealed

SCANSHIFT = Path(sys.executable).with_name("scanshift")
PLANT = "Mueller_Hans"
QUICK = ["backbone=squeezenet1_1", "weights=none", "image_size=64", "epochs=1", "strategy=linear_probe"]

# Python runs this file at the start of every process, so that the embedded server is watched as well.
SITECUSTOMIZE = """
import os, sys

def watch(event, arguments, path=os.environ["CONNECTIONS"]):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        line = f"connect {arguments[1][0]}"
    elif event == "socket.getaddrinfo":
        line = f"look-up {arguments[0]}"
    else:
        return
    with open(path, "a") as file:
        file.write(line + chr(10))

sys.addaudithook(watch)
"""


def _heed_interrupts():
    """Undo an ignored SIGINT, which tests started in the background of a shell would pass on to the command."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Told:
    """What a command told."""

    code: int
    out: str
    error: str

    @property
    def record(self):
        """The one JSON object on standard output."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


@dataclass
class Terminal:
    """Runs the console script with an empty home, every connection recorded."""

    folder: Path
    log: list[Told] = field(default_factory=list)

    def __post_init__(self):
        for name in ("home", "cwd", "hook"):
            (self.folder / name).mkdir()
        (self.folder / "hook" / "sitecustomize.py").write_text(SITECUSTOMIZE)
        dropped = ("PREFECT_", "SCANSHIFT_", "XDG_", "TORCH_HOME", "DO_NOT_TRACK", "CI", "PYTHONPATH", "MPLCONFIGDIR")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)} | {
            "HOME": str(self.home),
            "PYTHONPATH": str(self.folder / "hook"),
            "CONNECTIONS": str(self.connections),
        }

    @property
    def script(self):
        return SCANSHIFT

    @property
    def home(self):
        return self.folder / "home"

    @property
    def connections(self):
        return self.folder / "connections.log"

    def start(self, *arguments, **options):
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            [str(SCANSHIFT), *map(str, arguments)],
            env=self.environment,
            cwd=self.folder / "cwd",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
            **options,
        )

    def run(self, *arguments, timeout=300):
        """Run a command to its end."""
        process = self.start(*arguments)
        try:
            out, error = process.communicate(timeout=timeout)
        finally:
            stop_group(process)
        self.log.append(Told(process.returncode, out, error))
        return self.log[-1]


def stop_group(process):
    """End whatever a process has left behind in its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def terminal(tmp_path_factory):
    """The command line of this session."""
    return Terminal(tmp_path_factory.mktemp("terminal"))


@pytest.fixture
def end_group():
    """Ends a process and all of its group."""
    return stop_group


def plant(source, target, uids):
    """Copy radiographs with a patient's name in file names and headers."""
    target.mkdir(parents=True)
    for n, path in enumerate(sorted(source.rglob("*.dcm"))):
        try:
            ds = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            shutil.copy(path, target / f"{PLANT}_{path.name}")
            continue
        ds.PatientID = f"{PLANT}_{ds.get('PatientID', n)}"
        ds.PatientName = "Mueller^Hans"
        uids.append(str(ds.SeriesInstanceUID))
        ds.save_as(target / f"{PLANT}_{path.name}")


@dataclass(frozen=True)
class Site:
    """A folder of planted scans, and what the four verbs made of it."""

    root: Path
    uids: list[str]
    told: dict[str, Told]

    @property
    def workspace(self):
        return self.root / "workspace"

    @property
    def bundle(self):
        return self.root / "bundle"

    @property
    def incoming(self):
        return self.root / "incoming"

    @property
    def labels(self):
        return self.root / "scans" / "labels.csv"


@pytest.fixture(scope="session")
def site(terminal, samples, tmp_path_factory):
    """Ingest, adapt, validate and score through the command line, once; then one validation that fails."""
    root = tmp_path_factory.mktemp("site")
    site = Site(root, [], {})
    plant(samples / "radiographs" / "north", root / "scans" / PLANT, site.uids)
    plant(samples / "incoming", root / "incoming" / PLANT, site.uids)
    with (samples / "radiographs" / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["site"] == "north"]
    with site.labels.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "site", "split"])
        for row in rows:
            writer.writerow([f"{PLANT}/{PLANT}_{Path(row['path']).name}", row["label"], row["site"], row["split"]])
    missing = root / "missing.csv"
    missing.write_text(f"path,label\nscans/{PLANT}_gone.dcm,normal\n")

    def step(name, verb, *arguments):
        site.told[name] = terminal.run(verb, *arguments, "-w", site.workspace)

    step("ingest", "ingest", root / "scans", root / "incoming")
    settings = [word for setting in QUICK for word in ("--set", setting)]
    step("adapt", "adapt", site.labels, "--bundle", site.bundle, *settings)
    step("validate", "validate", site.bundle, site.labels, "-o", root / "validation", "--json")
    step("score", "score", site.incoming, "--bundle", site.bundle, "-o", root / "scores", "--heatmaps")
    step("failed", "validate", site.bundle, missing, "-o", root / "nothing")
    return site


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Runs a command in this process; its flow's work is done without Prefect, behind the same seal."""

    def work(module, _name, request):
        path = request.save()
        try:
            if module == "flows.score":
                from flows.score import run_find, run_finish, run_shard

                for shard in sealed(run_find)(path):
                    sealed(run_shard)(path, shard)
                return sealed(run_finish)(path)
            name = {
                "flows.ingest": "run_intake",
                "flows.adapt": "run_adapt",
                "flows.validate": "run_validate",
                "flows.shift": "run_shift",
            }[module]
            return sealed(getattr(__import__(module, fromlist=[name]), name))(path)
        except SealedError as error:
            raise error.cause from None

    def call(*arguments):
        capfd.readouterr()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        out, error = capfd.readouterr()
        return Told(code, out, error)

    monkeypatch.setattr(commands, "run_flow", work)
    monkeypatch.setattr(shift_command, "run_flow", work)
    monkeypatch.delenv("SCANSHIFT_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)
    return call
