import shutil

import pytest
import torch

from models.errors import ModelError, WeightsMismatchError, WeightsNotFoundError
from models.stock import add_weights, check_weights, list_weights
from models.weights import sha256_of

RESNET18 = "resnet18-f37072fd.pth"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def manifest(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "weights.json").write_text(text)
    return folder


def test_nothing_here_is_an_empty_list(hub):
    assert list_weights(None) == {}
    assert check_weights(None) == {}


def test_files_of_cache_and_manifest_are_listed(hub, tmp_path):
    hub.mkdir(parents=True)
    (hub / RESNET18).write_bytes(b"x")
    folder = manifest(tmp_path / "w", '{"weights": [{"backbone": "densenet121", "file": "d.pth", "sha256": "00"}]}')
    (folder / "d.pth").write_bytes(b"y")
    found = list_weights(folder)
    assert found == {"resnet18": str(hub / RESNET18), "densenet121": str(folder / "d.pth")}


def test_check_compares_hashes(hub, tmp_path):
    folder = tmp_path / "w"
    manifest(folder, "{}")
    (folder / "d.pth").write_bytes(b"abc")
    digest = sha256_of(folder / "d.pth")
    entries = ", ".join(
        f'{{"backbone": "{name}", "file": "d.pth", "sha256": "{hash_}"}}'
        for name, hash_ in (("densenet121", digest), ("densenet169", "0" * 64))
    )
    manifest(folder, f'{{"weights": [{entries}]}}')
    assert check_weights(folder) == {
        "densenet121": "right",
        "densenet169": f"SHA-256 begins {digest[:8]}, expected 00000000",
    }


def test_a_brought_file_is_copied_into_the_hub_cache(hub, tmp_path, monkeypatch):
    brought = tmp_path / RESNET18
    brought.write_bytes(b"weights")
    monkeypatch.setattr("models.stock.sha256_of", lambda path: "f37072fd" + "0" * 56)
    assert add_weights(brought) == hub / RESNET18
    assert (hub / RESNET18).read_bytes() == b"weights"
    assert [path.name for path in hub.iterdir()] == [RESNET18]
    assert brought.exists()


def test_a_file_whose_hash_is_not_the_one_in_its_name_is_not_taken(hub, tmp_path):
    brought = tmp_path / RESNET18
    brought.write_bytes(b"something else")
    with pytest.raises(WeightsMismatchError, match="does not begin with f37072fd"):
        add_weights(brought)
    assert not hub.exists()


@pytest.mark.parametrize("name", ["renamed.pth", "resnet18-00000000.pth"])
def test_a_name_that_torchvision_has_not_is_refused(hub, tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match="keep the name it has there"):
        add_weights(tmp_path / name)


def test_a_missing_file_is_told(hub, tmp_path):
    with pytest.raises(WeightsNotFoundError, match="no such file"):
        add_weights(tmp_path / RESNET18)


@pytest.mark.shared
def test_the_shared_weights_are_right(hub, shared_weights):
    states = check_weights(shared_weights)
    assert set(states) == {"densenet169", "mobilenet_v2", "squeezenet1_0", "resnet18", "resnet50"}
    assert set(states.values()) == {"right"}


@pytest.mark.shared
def test_an_altered_shared_file_is_found(hub, shared_weights, tmp_path):
    shutil.copy(shared_weights / "weights.json", tmp_path)
    altered = tmp_path / "squeezenet1_0-2ce26058.pth"
    altered.write_bytes((shared_weights / altered.name).read_bytes() + b"\0")
    assert check_weights(tmp_path)["squeezenet1_0"].endswith("expected 2ce26058")
