"""Every check of `scanshift doctor` where all is well, and where something is wrong."""

import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
import torch

from pipeline.doctor import accelerator, decoders, tiny_files
from pipeline.doctor.accelerator import check_accelerator
from pipeline.doctor.clock import Clock, check_clock
from pipeline.doctor.database import check_database
from pipeline.doctor.decoders import check_decoders
from pipeline.doctor.disk import check_disk
from pipeline.doctor.finding import Finding, Level, check, some
from pipeline.doctor.packages import check_packages
from pipeline.doctor.weights import check_pretrained
from pipeline.errors import CatalogError
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.catalog_open import open_tables
from pipeline.ingest.syntaxes import DECODERS, NATIVE
from pipeline.registry.store import Registry
from pipeline.workspace import Workspace

GIB = 2**30


@pytest.fixture
def space(tmp_path):
    return Workspace(tmp_path / "ws").open()


def test_a_check_never_raises():
    @check("odd")
    def odd():
        raise KeyError("nobody\nforesaw this")

    found = odd()
    assert (found.level, found.name) == (Level.BROKEN, "odd")
    assert found.line.startswith("broken   odd: KeyError: ")
    assert "\n" not in found.line


def test_a_finding_is_one_line():
    assert Finding(Level.OK, "disk", "as\n it is").line == "ok       disk: as it is"
    assert some(["a", "b", "c"], 2) == "a, b and 1 more"


def test_packages(tmp_path):
    pins = tmp_path / "constraints.txt"
    pins.write_text(f"# why (x==1)\nnumpy=={np.__version__}\nabsent-package==1.0\n")
    assert check_packages(["numpy>=1", "absent-package; extra == 'more'"], pins).level == Level.OK
    assert check_packages().level != Level.BROKEN
    found = check_packages(["numpy<1", "absent-package"], pins)
    assert found.level == Level.BROKEN
    assert found.details == (f"numpy {np.__version__}, needed <1", "absent-package is not installed")
    pins.write_text("numpy==0.1\n")
    found = check_packages(["numpy"], pins)
    assert (found.level, found.details) == (Level.WARNING, (f"numpy {np.__version__} (tested: 0.1)",))
    assert check_packages(["numpy"], tmp_path / "none").level == Level.OK


def test_a_local_version_is_the_one_tested(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.doctor.packages.version", lambda _: "2.14.1+cpu")
    pins = tmp_path / "constraints.txt"
    pins.write_text("torch==2.14.1\n")
    assert check_packages(["torch"], pins).level == Level.OK


@pytest.mark.parametrize(
    ("states", "level"),
    [({}, Level.WARNING), ({"a": "right"}, Level.OK), ({"a": "right", "b": "SHA-256 begins 00"}, Level.BROKEN)],
)
def test_weights(monkeypatch, states, level):
    monkeypatch.setattr("pipeline.doctor.weights.check_weights", lambda _: states)
    assert check_pretrained(None).level == level


def test_weights_whose_list_is_damaged_are_told(tmp_path):
    (tmp_path / "weights.json").write_text("{")
    assert check_pretrained(tmp_path).level == Level.BROKEN
    (tmp_path / "weights.json").write_text('{"weights": [{"backbone": "resnet18", "file": "gone.pth"}]}')
    assert "resnet18: in the list" in check_pretrained(tmp_path).words


def test_accelerator(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    driver = tmp_path / "version"
    assert check_accelerator(driver).level == Level.OK
    driver.touch()
    assert check_accelerator(driver).level == Level.WARNING
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "card")
    wrong = SimpleNamespace(eye=lambda size, device="cpu": torch.eye(size) * (2 if device == "cuda" else 1))
    monkeypatch.setattr(accelerator, "torch", SimpleNamespace(cuda=torch.cuda, equal=torch.equal, eye=wrong.eye))
    assert check_accelerator(driver).level == Level.BROKEN


def test_disk(space, monkeypatch):
    def free(amount):
        monkeypatch.setattr("pipeline.doctor.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=amount))

    (space.cache / "a").mkdir(parents=True)
    (space.cache / "a" / "b.npy").write_bytes(bytes(1000))
    free(30 * GIB)
    assert check_disk(space).level == Level.OK
    assert check_disk(space, cap_bytes=999).level == Level.WARNING
    assert check_disk(space, cap_bytes=1000).level == Level.OK
    free(10 * GIB)
    assert "full before" in check_disk(space).words
    free(2**20)
    assert check_disk(space).level == Level.BROKEN
    file = space.root / "file"
    file.touch()
    assert check_disk(Workspace(file)).level == Level.BROKEN


def test_database(space, tmp_path, monkeypatch):
    monkeypatch.delenv("SCANSHIFT_CATALOG", raising=False)
    assert check_database(None).level == check_database(space).level == Level.OK
    assert not (space.root / "catalog.db").exists()
    Catalog(space.catalog_url).close()
    assert "lacks locator_model, model" in check_database(space).words
    Registry(space.catalog_url).close()
    found = check_database(space)
    assert (found.level, "as expected" in found.words) == (Level.OK, True)
    engine = open_tables(space.catalog_url, sa.MetaData())
    with engine.begin() as connection:
        connection.exec_driver_sql("alter table locator_file drop column version")
        tables = sorted(sa.inspect(connection).get_table_names())
    found = check_database(space)
    assert (found.level, found.details) == (Level.BROKEN, ("locator_file lacks version",))
    assert sorted(sa.inspect(engine).get_table_names()) == tables  # what was written was taken back
    engine.dispose()
    (space.root / "catalog.db").write_bytes(b"no database at all" * 100)
    assert check_database(space).level == Level.BROKEN
    assert [path.name for path in space.root.iterdir() if path.name.startswith(".doctor")] == []


def test_a_database_that_is_not_reached_or_not_written_is_told(space, monkeypatch):
    found = check_database(Workspace(space.root, "postgresql://me:verysecret@127.0.0.1:1/x"))
    assert found.level == Level.BROKEN
    assert "secret" not in found.words
    Catalog(space.catalog_url).close()

    def refuse(_engine):
        raise CatalogError("the catalogue could not be written")

    monkeypatch.setattr("pipeline.doctor.database._write_and_take_back", refuse)
    assert check_database(space).level == Level.BROKEN


def test_database_and_clock_on_a_server(postgres_url, tmp_path):
    space = Workspace(tmp_path, postgres_url)
    Registry(postgres_url).close()
    Catalog(postgres_url).close()
    found = check_database(space)
    assert (found.level, "postgresql, opened and written" in found.words) == (Level.OK, True)
    assert "database " in check_clock(tmp_path, postgres_url, Clock(zone="UTC")).words
    import time

    ahead = Clock(wall=lambda: time.time() + 3600, zone="UTC")
    found = check_clock(tmp_path, postgres_url, ahead)
    assert found.level == Level.BROKEN
    assert "the database is -3600" in found.words


class Hands:
    """A clock whose hands are moved by the test."""

    def __init__(self, tmp_path, *, step=0.0, offset=0.0, zone="Europe/Berlin"):
        self.at, self.step, self.offset = 0.0, step, offset
        (tmp_path / "probe").touch()
        self.begin = (tmp_path / "probe").stat().st_mtime
        self.clock = Clock(self.wall, self.steady, self.sleep, zone, tmp_path / "localtime")

    def wall(self):
        return self.begin + self.at + self.offset + (self.step if self.at else 0)

    def steady(self):
        return self.at

    def sleep(self, seconds):
        self.at += seconds


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, Level.OK, "Europe/Berlin, steady"),
        ({"zone": None}, Level.WARNING, "no time zone"),
        ({"zone": "Mars/Base"}, Level.BROKEN, "Mars/Base is not known"),
        ({"step": -0.5}, Level.WARNING, "set by -0.50 s"),
        ({"offset": -10.0}, Level.WARNING, "file system is +"),
        ({"offset": 3600.0}, Level.BROKEN, "file system is -"),
        ({"offset": -4e9}, Level.BROKEN, "days behind"),
    ],
)
def test_clock(tmp_path, changes, level, words):
    found = check_clock(tmp_path, "", Hands(tmp_path, **changes).clock)
    assert found.level == level
    assert words in found.words


def test_a_zone_that_the_machine_has_is_found(tmp_path):
    hands = Hands(tmp_path, zone=None)
    hands.clock.local.symlink_to("/usr/share/zoneinfo/Etc/UTC")
    if not hands.clock.local.exists():
        pytest.skip("no zoneinfo on this machine")
    assert check_clock(tmp_path, "", hands.clock).words.startswith("Etc/UTC, steady")


def test_no_time_zone_data_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.doctor.clock.available_timezones", set)
    assert "tzdata" in check_clock(tmp_path, "", Hands(tmp_path).clock).words


def test_every_syntax_that_is_read_is_tried():
    assert set(tiny_files.ENCODINGS) == set(DECODERS) | NATIVE
    found = check_decoders()
    assert (found.level, found.words) == (Level.OK, "17 transfer syntaxes decoded")


def test_a_decoder_that_fails_or_lies_is_told(monkeypatch):
    syntaxes = ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.1"]
    broken = tiny_files.Encoding(lambda frame: b"no JPEG-LS")
    monkeypatch.setitem(tiny_files.ENCODINGS, syntaxes[0], broken)
    found = check_decoders(syntaxes)
    assert found.level == Level.BROKEN
    assert found.words.startswith("1 of 2 transfer syntaxes: JPEG-LS Lossless Image Compression (pyjpegls): ")
    right = decoders.write_radiograph

    def other(path, syntax):
        return right(path, syntax) + np.uint16(3)

    monkeypatch.setattr(decoders, "write_radiograph", other)
    assert "3 grey levels off" in check_decoders(syntaxes[1:]).words


def test_what_is_tried_out_is_private(space):
    Catalog(space.catalog_url).close()
    check_database(space)
    assert stat.S_IMODE(Path(space.root / "catalog.db").stat().st_mode) == 0o600
