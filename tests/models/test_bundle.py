"""A bundle is whole and unaltered, or it is refused."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from models.bundle import NETWORK, SETTINGS, SUMS, check_target, open_bundle, write_bundle
from models.errors import BundleError

TEXTS = {SETTINGS: "format: 1\n", "docs/README.md": "Grüße\n"}
STATES = {NETWORK: {"head.weight": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}}


class Gadget:
    """Unpickling it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


@pytest.fixture
def folder(tmp_path):
    write_bundle(tmp_path / "bundle", TEXTS, STATES)
    return tmp_path / "bundle"


def resum(folder):
    """Write SHA256SUMS anew, as somebody would who edits a bundle on purpose."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines))


def test_what_was_written_comes_back(folder):
    bundle = open_bundle(folder)
    assert {name: bundle.text(name) for name in TEXTS} == TEXTS
    state = bundle.tensors()
    assert set(state) == set(STATES[NETWORK])
    assert all(torch.equal(state[key], value) for key, value in STATES[NETWORK].items())


def test_the_sums_are_what_sha256sum_checks(folder):
    lines = (folder / SUMS).read_text().splitlines()
    assert lines == sorted(lines, key=lambda line: line[66:])
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert {line.split("  ")[1] for line in lines} == {*TEXTS, *STATES}


def test_the_digest_names_the_content(tmp_path, folder):
    digest = open_bundle(folder).digest
    assert digest == hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
    assert write_bundle(tmp_path / "same", TEXTS, STATES).digest == digest
    other = write_bundle(tmp_path / "other", {**TEXTS, SETTINGS: "format: 1 \n"}, STATES)
    assert other.digest == open_bundle(tmp_path / "other").digest != digest


def test_nothing_is_left_beside_it(folder):
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", [SETTINGS, NETWORK, "docs/README.md"])
def test_an_altered_file_is_found(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
    with pytest.raises(BundleError, match=f"{name} was altered"):
        open_bundle(folder)


@pytest.mark.parametrize("name", [SETTINGS, NETWORK, "docs/README.md"])
def test_a_missing_file_is_found(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["configs/extra.json", "notes.txt", "models/deep/er/net.pt"])
def test_a_file_that_is_not_listed_is_found(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    with pytest.raises(BundleError, match=f"{name} is not in SHA256SUMS; a bundle is never edited in place"):
        open_bundle(folder)


def test_what_a_file_browser_leaves_is_no_edit(folder):
    (folder / ".DS_Store").write_text("x")
    assert open_bundle(folder).folder == folder


@pytest.mark.parametrize("name", ["../outside.txt", "configs/../../outside.txt", "/etc/hostname", "..\\outside.txt"])
def test_a_name_that_leads_out_of_the_bundle_is_refused(folder, name):
    (folder.parent / "outside.txt").write_text("x")
    digest = hashlib.sha256(b"x").hexdigest()
    with (folder / SUMS).open("a") as file:
        file.write(f"{digest}  {name}\n")
    with pytest.raises(BundleError, match="a line that is not"):
        open_bundle(folder)


@pytest.mark.parametrize("line", ["no hash at all\n", "\n", "abc  configs/scanshift.yaml\n"])
def test_a_line_that_is_no_sum_is_refused(folder, line):
    with (folder / SUMS).open("a") as file:
        file.write(line)
    with pytest.raises(BundleError, match="a line that is not"):
        open_bundle(folder)


def test_a_bundle_without_a_network_is_refused_even_if_its_sums_agree(folder):
    (folder / NETWORK).unlink()
    resum(folder)
    with pytest.raises(BundleError, match=f"{NETWORK} is missing"):
        open_bundle(folder)


def test_what_is_no_bundle_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError, match="not a bundle"):
            open_bundle(path)


def test_a_bundle_from_before_is_replaced_as_a_whole(folder):
    before = open_bundle(folder).digest
    written = write_bundle(folder, {SETTINGS: "format: 1\nnew: 1\n"}, STATES)
    assert open_bundle(folder).digest == written.digest != before
    assert not (folder / "docs").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_a_bundle_from_before_stays_when_writing_fails(folder):
    before = open_bundle(folder).digest
    with pytest.raises(AttributeError):
        write_bundle(folder, TEXTS, {NETWORK: {"a": lambda: None}})  # cannot be pickled
    assert open_bundle(folder).digest == before
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(BundleError, match="is not a bundle; choose another folder"):
        write_bundle(tmp_path / "mine", TEXTS, STATES)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_folder_of_downloads_with_sums_of_its_own_is_no_bundle(tmp_path):
    """Linux images come with a SHA256SUMS too; they must not be taken for a bundle from before."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / SUMS).write_text(f"{'0' * 64}  debian.iso\n")
    (tmp_path / "images" / "debian.iso").write_text("x")
    with pytest.raises(BundleError, match="is not a bundle"):
        check_target(tmp_path / "images")


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError):
        check_target(tmp_path / "file")


def test_an_empty_folder_and_a_new_one_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    write_bundle(tmp_path / "empty", TEXTS, STATES)
    write_bundle(tmp_path / "deep" / "new", TEXTS, STATES)
    assert open_bundle(tmp_path / "empty").digest == open_bundle(tmp_path / "deep" / "new").digest


def test_a_pickle_in_the_network_is_refused_and_not_run(folder, tmp_path):
    live, marker = tmp_path / "live", tmp_path / "marker"
    pickle.loads(pickle.dumps(Gadget(live)))
    assert live.exists()  # the gadget works where somebody unpickles it
    torch.save({"head.weight": Gadget(marker)}, folder / NETWORK)
    resum(folder)
    with pytest.raises(BundleError, match="not a plain state dict"):
        open_bundle(folder).tensors()
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk"])
def test_a_broken_network_is_refused(folder, content):
    (folder / NETWORK).write_bytes(content)
    resum(folder)
    with pytest.raises(BundleError, match="not a plain state dict"):
        open_bundle(folder).tensors()


def test_a_network_that_is_no_dict_is_refused(folder):
    torch.save([torch.zeros(1)], folder / NETWORK)
    resum(folder)
    with pytest.raises(BundleError, match="not a plain state dict"):
        open_bundle(folder).tensors()
