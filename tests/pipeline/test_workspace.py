import csv
import hashlib
import hmac
import io
import json
import os
import subprocess
import sys
from collections import namedtuple

import pytest

from pipeline import workspace as module
from pipeline.errors import BusyError, DiskSpaceError, SourceError
from pipeline.workspace import (
    Workspace,
    exclusive,
    pseudonym,
    require_space,
    safe_cell,
    whole_file,
    write_json,
)

Usage = namedtuple("Usage", "total used free")


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with whole_file(path) as file:
        file.write("Grüße\r\n")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == "Grüße\r\n".encode()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_half_written_is_left_when_the_body_raises(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def interrupted():
        with whole_file(path) as file:
            file.write("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_is_the_owners_alone_from_its_first_byte(tmp_path, open_umask):
    path = tmp_path / "scores.csv"
    path.write_text("from before, open to all")
    assert mode(path) == 0o666
    with whole_file(path, private=True) as file:
        (beside,) = (p for p in tmp_path.iterdir() if p != path)
        assert mode(beside) == 0o600
        file.write("x")
    assert mode(path) == 0o600
    with whole_file(tmp_path / "report.html") as file:
        file.write("x")
    assert mode(tmp_path / "report.html") == 0o666


def test_binary_files(tmp_path):
    with whole_file(tmp_path / "a", mode="wb", synced=False) as file:
        file.write(b"\x00\r\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\r\n"


def test_json_refuses_what_is_no_number_and_leaves_the_file_from_before(tmp_path):
    path = tmp_path / "r.json"
    write_json(path, {"name": "Grüße", "value": 0.1})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Grüße", "value": 0.1}
    with pytest.raises(ValueError):
        write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["value"] == 0.1


def test_space_is_checked_against_what_is_free_with_a_reserve(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: Usage(0, 0, 300 * 2**20))
    require_space(tmp_path / "not" / "yet", 100 * 2**20)
    with pytest.raises(DiskSpaceError, match="300 MiB free, about 301 MiB needed"):
        require_space(tmp_path, 101 * 2**20)


def test_space_is_measured_where_the_folder_will_be(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: asked.append(path) or Usage(0, 0, 2**40))
    require_space(tmp_path / "not" / "yet", 1)
    assert asked == [tmp_path]


def test_the_lock_keeps_another_run_out_and_is_given_back(tmp_path):
    busy = pytest.raises(BusyError, match="another run is writing here")
    with exclusive(tmp_path / "out"), busy, exclusive(tmp_path / "out"):
        pytest.fail("two runs at once")
    with exclusive(tmp_path / "out"):
        pass


def test_the_lock_is_given_back_when_the_run_fails(tmp_path):
    def failing():
        with exclusive(tmp_path):
            raise ValueError

    with pytest.raises(ValueError):
        failing()
    with exclusive(tmp_path):
        pass


def test_the_lock_holds_against_another_process(tmp_path):
    code = (
        "import sys, pathlib\nfrom pipeline.workspace import exclusive\nfrom pipeline.errors import BusyError\n"
        "try:\n    with exclusive(pathlib.Path(sys.argv[1])):\n        print('in')\n"
        "except BusyError:\n    print('busy')"
    )

    def other():
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with exclusive(tmp_path):
        assert other() == "busy"
    assert other() == "in"


def test_the_key_is_made_once_private_and_32_bytes_long(tmp_path, open_umask):
    workspace = Workspace(tmp_path / "ws").open()
    key = workspace.key()
    assert len(key) == 32
    assert mode(workspace.root / "pseudonym.key") == 0o600
    assert Workspace(tmp_path / "ws").open().key() == key
    assert Workspace(tmp_path / "other").open().key() != key


def test_a_workspace_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SourceError, match="not a folder"):
            Workspace(root).open()


def test_every_run_gets_a_folder_of_its_own(tmp_path):
    folders = {Workspace(tmp_path).run_folder("adapt") for _ in range(5)}
    assert len(folders) == 5
    assert all(folder.is_dir() and folder.parent == tmp_path / "runs" / "adapt" for folder in folders)


def test_everything_lies_below_the_root(tmp_path):
    workspace = Workspace(tmp_path)
    assert workspace.cache.parent == workspace.prefect_home.parent == tmp_path
    assert workspace.catalog_url == f"sqlite:///{tmp_path}/catalog.db"


def test_a_pseudonym_is_hmac_sha256():
    """RFC 4231, test case 2."""
    assert pseudonym(b"Jefe", "what do ya want for nothing?") == "5bdcc146bf60"
    assert pseudonym(b"k", "Müller") == hmac.new(b"k", "Müller".encode(), hashlib.sha256).hexdigest()[:12]


def test_pseudonyms_tell_apart_and_hang_on_the_key():
    names = [f"patient {n}" for n in range(200)]
    assert len({pseudonym(b"key", name) for name in names}) == 200
    assert pseudonym(b"one", "x") != pseudonym(b"other", "x")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_what_a_spreadsheet_takes_for_a_formula_gets_an_apostrophe(text):
    assert safe_cell(text) == "'" + text
    cells = io.StringIO(newline="")
    csv.writer(cells).writerow([safe_cell(text)])
    assert next(csv.reader(io.StringIO(cells.getvalue(), newline="")))[0][0] == "'"


@pytest.mark.parametrize("text", ["", "normal", "1.2.840", "a=b", "'quoted"])
def test_other_cells_stay(text):
    assert safe_cell(text) == text


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def acquire(_self, **_more):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with pytest.raises(SourceError, match="keeps no locks"), exclusive(tmp_path / "out"):
        pass
