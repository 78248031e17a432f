"""Pretrained weights are found in the stated order, checked, and loaded whole or not at all."""

import hashlib
import json
import pickle
import urllib.error
from pathlib import Path

import pytest
import torch

from models.backbones import build_backbone
from models.errors import ModelError, PartialWeightsError, WeightsMismatchError, WeightsNotFoundError
from models.weights import WeightsFile, find_weights, load_weights, sha256_of

NAME = "shufflenet_v2_x0_5"
RESNET18 = "resnet18-f37072fd.pth"


class Gadget:
    """What a poisoned file holds: unpickling it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache; a download fails the test."""

    def no_download(*_args, **_kwargs):
        pytest.fail("tried to download")

    folder = tmp_path / "hub"
    (folder / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_download)
    return folder / "checkpoints"


@pytest.fixture
def saved(tmp_path, torchvision_state):
    """Writes the weights of a backbone as a file in torchvision's layout."""

    def write(name=NAME, *, seed=1, drop=(), path=None, **changes):
        there = build_backbone(name, seed=seed)
        state = {key: value for key, value in torchvision_state(there).items() if not key.startswith(tuple(drop))}
        state["fc.weight"] = torch.zeros(1000, 1024)  # the head, which we have no use for
        path = path or tmp_path / "net.pth"
        torch.save(state | changes, path)
        return path, there

    return write


def manifest(folder, *entries):
    (folder / "weights.json").write_text(json.dumps({"weights": list(entries)}))
    return folder


def entry(path, backbone=NAME, **changes):
    return {"backbone": backbone, "file": path.name, "sha256": sha256_of(path)} | changes


def equal(one, other):
    return all(torch.equal(one.state_dict()[key], value) for key, value in other.state_dict().items())


def test_sha256_of_a_file_is_hashlibs(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert sha256_of(tmp_path / "a").startswith("ba7816bf")  # FIPS 180-2, appendix B.1


def test_a_file_loads_whole_and_the_hash_comes_back(saved):
    path, there = saved(seed=1)
    here = build_backbone(NAME, seed=2)
    assert not equal(here, there)
    assert load_weights(here, WeightsFile(path, "", "file")) == sha256_of(path)
    assert equal(here, there)


def test_the_first_eight_digits_of_the_hash_are_enough(saved):
    path, _ = saved()
    load_weights(build_backbone(NAME), WeightsFile(path, sha256_of(path)[:8], "file"))


@pytest.mark.parametrize("expected", ["0" * 64, "0" * 8])
def test_another_hash_is_refused_before_anything_is_loaded(saved, expected):
    path, _ = saved(seed=1)
    here, untouched = build_backbone(NAME, seed=2), build_backbone(NAME, seed=2)
    with pytest.raises(WeightsMismatchError, match=r"net\.pth: SHA-256 begins [0-9a-f]{8}, expected 00000000"):
        load_weights(here, WeightsFile(path, expected, "file"))
    assert equal(here, untouched)


def test_partial_weights_are_refused_with_the_cut_that_would_work(saved):
    path, _ = saved(drop=("stage4.", "conv5."))
    here, untouched = build_backbone(NAME, seed=2), build_backbone(NAME, seed=2)
    with pytest.raises(PartialWeightsError, match=rf"no weights for stage4 of {NAME}; use backbone {NAME}@stage3"):
        load_weights(here, WeightsFile(path, "", "file"))
    assert equal(here, untouched)


def test_the_advised_cut_loads(saved):
    path, there = saved(drop=("stage4.", "conv5."))
    cut = build_backbone(f"{NAME}@stage3", seed=2)
    load_weights(cut, WeightsFile(path, "", "file"))
    assert all(torch.equal(value, there.state_dict()[key]) for key, value in cut.state_dict().items())


def test_a_hole_in_the_middle_is_refused_with_the_stages_before_it(saved):
    path, _ = saved(drop=("stage3.",))
    with pytest.raises(PartialWeightsError, match=f"no weights for stage3 of .*; use backbone {NAME}@stage2"):
        load_weights(build_backbone(NAME), WeightsFile(path, "", "file"))


def test_weights_without_the_stem_help_nobody(saved):
    path, _ = saved(drop=("conv1.",))
    with pytest.raises(PartialWeightsError, match="no weights for stem") as caught:
        load_weights(build_backbone(NAME), WeightsFile(path, "", "file"))
    assert "use backbone" not in str(caught.value)


def test_a_missing_batch_counter_is_no_missing_weight(saved, torchvision_state):
    path, there = saved()
    state = {k: v for k, v in torchvision_state(there).items() if not k.endswith("num_batches_tracked")}
    assert len(state) < len(torchvision_state(there))
    torch.save(state, path)
    load_weights(build_backbone(NAME, seed=2), WeightsFile(path, "", "file"))


def test_a_missing_running_mean_is_a_missing_weight(saved):
    path, _ = saved(drop=("conv5.1.running_mean",))
    with pytest.raises(PartialWeightsError, match="stage4"):
        load_weights(build_backbone(NAME), WeightsFile(path, "", "file"))


def test_another_shape_is_refused_before_anything_is_loaded(saved):
    path, _ = saved(**{"conv1.0.weight": torch.zeros(24, 3, 5, 5)})
    here, untouched = build_backbone(NAME, seed=2), build_backbone(NAME, seed=2)
    with pytest.raises(WeightsMismatchError, match=r"has shape \(24, 3, 5, 5\), expected \(24, 3, 3, 3\)"):
        load_weights(here, WeightsFile(path, "", "file"))
    assert equal(here, untouched)


def test_a_pickled_gadget_is_refused_and_not_run(tmp_path):
    live, marker = tmp_path / "live", tmp_path / "marker"
    pickle.loads(pickle.dumps(Gadget(live)))
    assert live.exists()  # the gadget works where somebody unpickles it
    path = tmp_path / "net.pth"
    torch.save({"conv1.0.weight": Gadget(marker)}, path)
    with pytest.raises(WeightsMismatchError, match="holds more than tensors, refused"):
        load_weights(build_backbone(NAME), WeightsFile(path, "", "file"))
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut short"])
def test_a_broken_file_is_refused(tmp_path, content):
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsMismatchError):
        load_weights(build_backbone(NAME), WeightsFile(path, "", "file"))


@pytest.mark.parametrize("record", [[torch.zeros(1)], {"epoch": 3}, {"state_dict": {"a": torch.zeros(1)}}])
def test_anything_but_names_and_tensors_is_refused(tmp_path, record):
    torch.save(record, tmp_path / "net.pth")
    with pytest.raises(WeightsMismatchError, match="not a plain state dict"):
        load_weights(build_backbone(NAME), WeightsFile(tmp_path / "net.pth", "", "file"))


def test_an_explicit_file_is_taken_with_the_hash_in_its_name(saved, tmp_path, hub):
    path, _ = saved(path=tmp_path / "net-0123abcd.pth")
    found = find_weights(NAME, str(path), folder=None)
    assert (found.path, found.sha256, found.origin) == (path, "0123abcd", "file net-0123abcd.pth")
    plain, _ = saved()
    assert find_weights(NAME, str(plain), folder=None).sha256 == ""


def test_an_explicit_file_in_a_folder_called_imagenet_is_a_file(saved, tmp_path, hub):
    folder = tmp_path / "imagenet"
    folder.mkdir()
    path, _ = saved(path=folder / "imagenet_net.pth")
    assert find_weights(NAME, str(path), folder=None).path == path


def test_an_explicit_file_that_is_not_there_is_told(hub):
    with pytest.raises(WeightsNotFoundError, match=r"nowhere/net\.pth: no such weights file"):
        find_weights(NAME, "nowhere/net.pth", folder=None)


def test_the_manifest_goes_before_the_hub_cache(saved, tmp_path, hub):
    path, _ = saved()
    (hub / "shufflenetv2_x0.5-f707e7126e.pth").write_bytes(b"")
    found = find_weights(NAME, "imagenet", folder=manifest(tmp_path, entry(path)))
    assert (found.path, found.sha256, found.origin) == (path, sha256_of(path), "manifest net.pth")


def test_a_cut_does_not_matter_for_the_search(saved, tmp_path, hub):
    path, _ = saved()
    assert find_weights(f"{NAME}@stage2", "imagenet", folder=manifest(tmp_path, entry(path))).path == path


def test_a_file_that_is_not_the_manifests_is_refused(saved, tmp_path, hub):
    path, _ = saved()
    folder = manifest(tmp_path, entry(path))
    saved(seed=5)  # another file in its place
    with pytest.raises(WeightsMismatchError, match="bring the file again"):
        load_weights(build_backbone(NAME), find_weights(NAME, "imagenet", folder=folder))


def test_a_file_that_the_manifest_names_and_is_not_there_is_told(saved, tmp_path, hub):
    path, _ = saved()
    folder = manifest(tmp_path, entry(path))
    path.unlink()
    with pytest.raises(WeightsNotFoundError, match=r"net\.pth: named by weights\.json but not there"):
        find_weights(NAME, "imagenet", folder=folder)


def test_a_manifest_cannot_name_a_file_outside_its_folder(saved, tmp_path, hub):
    path, _ = saved()
    (tmp_path / "inner").mkdir()
    folder = manifest(tmp_path / "inner", entry(path) | {"file": "../net.pth"})
    with pytest.raises(WeightsNotFoundError, match="not there"):
        find_weights(NAME, "imagenet", folder=folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"weights": [{"backbone": "shufflenet_v2_x0_5"}]}', '{"weights": 3}'])
def test_an_unreadable_manifest_is_told(tmp_path, hub, text):
    (tmp_path / "weights.json").write_text(text)
    with pytest.raises(WeightsNotFoundError, match=r"weights\.json: no readable manifest"):
        find_weights(NAME, "imagenet", folder=tmp_path)


def test_a_folder_without_a_manifest_is_told(tmp_path, hub):
    with pytest.raises(WeightsNotFoundError, match="no readable manifest"):
        find_weights(NAME, "imagenet", folder=tmp_path)


def test_the_manifests_v1_sets_the_stride(tmp_path, hub, saved):
    path, _ = saved("resnet50@layer2", path=tmp_path / "resnet50v1_to_layer2-00000000.pth")
    folder = manifest(tmp_path, entry(path, "resnet50"))
    file = find_weights("resnet50@layer2", "imagenet", folder=folder)
    backbone = build_backbone("resnet50@layer2", seed=2)
    load_weights(backbone, file)
    assert (file.variant, backbone.variant) == ("v1", "v1")
    assert backbone.stages["layer2"][0].conv1.stride == (2, 2)
    assert backbone.stages["layer2"][0].conv2.stride == (1, 1)


def test_v1_weights_load_into_a_cut_before_the_first_stride(tmp_path, saved):
    path, there = saved("resnet50@layer1", path=tmp_path / "resnet50v1_to_layer1.pth")
    backbone = build_backbone("resnet50@layer1", seed=2)
    load_weights(backbone, find_weights("resnet50@layer1", str(path), folder=None))
    assert equal(backbone, there)


def test_the_hub_cache_is_searched_for_torchvisions_name(hub):
    (hub / RESNET18).write_bytes(b"")
    found = find_weights("resnet18", "imagenet", folder=None)
    assert (found.path, found.sha256) == (hub / RESNET18, "f37072fd")
    assert found.origin == "torchvision ResNet18_Weights.IMAGENET1K_V1"


def test_the_default_goes_before_older_weights_and_a_named_member_before_the_default(hub):
    old, new = hub / "resnet50-0676ba61.pth", hub / "resnet50-11ad3fa6.pth"
    old.write_bytes(b"")
    assert find_weights("resnet50", "imagenet", folder=None).path == old
    new.write_bytes(b"")
    assert find_weights("resnet50", "DEFAULT", folder=None).path == new
    assert find_weights("resnet50", "IMAGENET1K_V1", folder=None).path == old
    assert find_weights("resnet50", "ResNet50_Weights.IMAGENET1K_V2", folder=None).path == new


def test_a_member_that_is_not_there_is_refused_with_those_that_are(hub):
    with pytest.raises(WeightsNotFoundError, match=r"no weights 'IMAGENET1K_V9' \(known: IMAGENET1K_V1"):
        find_weights("resnet18", "IMAGENET1K_V9", folder=None)


def assert_advice(text, hub):
    """File, address, place and hash: what somebody on a machine with no way out needs to know."""
    assert f"bring {RESNET18}" in text
    assert f"https://download.pytorch.org/models/{RESNET18}" in text
    assert str(hub) in text
    assert "SHA-256 begins f37072fd" in text
    assert "scanshift weights add FILE" in text
    assert "weights=none" in text


def test_without_download_the_error_says_what_to_bring_from_where_to_where(hub):
    with pytest.raises(WeightsNotFoundError) as caught:
        find_weights("resnet18", "imagenet", folder=None, download=False)
    assert_advice(str(caught.value), hub)
    assert "SCANSHIFT_WEIGHTS names no folder" in str(caught.value)


def test_a_failed_download_says_the_same(hub, monkeypatch):
    def offline(*_args, **_kwargs):
        raise urllib.error.URLError("no way out")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(WeightsNotFoundError) as caught:
        find_weights("resnet18", "imagenet", folder=None)
    assert_advice(str(caught.value), hub)


def test_a_download_is_checked_and_lands_in_the_cache(hub, monkeypatch):
    asked = {}

    def download(url, **how):
        asked.update(how, url=url)
        (hub / RESNET18).write_bytes(b"")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    assert find_weights("resnet18", "imagenet", folder=None).path == hub / RESNET18
    assert asked["check_hash"] is True
    assert asked["weights_only"] is True
    assert asked["url"].endswith(RESNET18)


def test_a_folder_that_lacks_the_backbone_is_named_in_the_error(hub, tmp_path):
    with pytest.raises(WeightsNotFoundError, match=f"looked in {tmp_path} too"):
        find_weights("resnet18", "imagenet", folder=manifest(tmp_path), download=False)


def test_timms_networks_have_no_weights_of_torchvision(hub):
    with pytest.raises(WeightsNotFoundError, match="give weights as a file, or in a manifest"):
        find_weights("timm/resnet10t", "imagenet", folder=None)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["densenet169", "mobilenet_v2", "squeezenet1_0", "resnet18@layer3", "resnet50@layer3"])
def test_the_shared_weights_load(shared_weights, hub, name):
    backbone = build_backbone(name)
    file = find_weights(name, "imagenet", folder=shared_weights)
    assert load_weights(backbone, file) == file.sha256
    assert backbone.variant == ("v1" if name.startswith("resnet50") else "")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_shared_weights_that_stop_at_layer3_do_not_pass_for_a_whole_network(shared_weights, hub, name):
    with pytest.raises(PartialWeightsError, match=f"no weights for layer4 of {name}; use backbone {name}@layer3"):
        load_weights(build_backbone(name), find_weights(name, "imagenet", folder=shared_weights))


@pytest.mark.parametrize("error", [WeightsNotFoundError, WeightsMismatchError, PartialWeightsError])
def test_every_error_is_a_model_error(error):
    assert issubclass(error, ModelError)
