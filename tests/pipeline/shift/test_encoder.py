import hashlib
import json

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from models.classifier import SliceBagClassifier
from models.errors import PartialWeightsError
from pipeline.config import make_config
from pipeline.errors import CohortError, ConfigError
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import to_tensor
from pipeline.shift.encoder import backbone_encoder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def refs(samples):
    return [ref for ref in scan_sources([samples / "radiographs" / "north"]) if ref.status == "ok"][:6]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Writes ResNet-18 weights without some of their tensors into a folder with a manifest."""

    def write(left_out):
        torch.manual_seed(7)
        state = {name: t for name, t in resnet18().state_dict().items() if not name.startswith(left_out)}
        torch.save(state, tmp_path / "part.pth")
        digest = hashlib.sha256((tmp_path / "part.pth").read_bytes()).hexdigest()
        entry = {"backbone": "resnet18", "file": "part.pth", "sha256": digest}
        (tmp_path / "weights.json").write_text(json.dumps({"weights": [entry]}))
        monkeypatch.setenv("SCANSHIFT_WEIGHTS", str(tmp_path))
        return state

    return write


def test_a_network_ends_where_its_weights_end_and_says_so(weights, refs):
    state = weights(("layer4", "fc"))
    encoder = backbone_encoder(make_config({"image_size": 64}), refs, CPU)
    assert encoder.name == "resnet18@layer3"
    assert any("resnet18@layer3" in note for note in encoder.notes)
    names = {name.partition("conv1.weight")[0] for name in encoder.classifier.backbone.state_dict()}
    assert not any("layer4" in name for name in names)
    own = encoder.classifier.backbone.state_dict()
    first = next(tensor for tensor in own.values() if tensor.shape == state["conv1.weight"].shape)
    assert torch.equal(first, state["conv1.weight"])


def test_complete_weights_are_not_cut(weights, refs):
    weights(("fc",))
    encoder = backbone_encoder(make_config({"image_size": 64}), refs, CPU)
    assert (encoder.name, encoder.notes) == ("resnet18", ())


def test_a_stage_that_was_asked_for_is_not_replaced(weights, refs):
    weights(("layer3", "layer4", "fc"))
    with pytest.raises(PartialWeightsError):
        backbone_encoder(make_config({"image_size": 64, "backbone": "resnet18@layer3"}), refs, CPU)


def test_weights_without_a_stem_are_refused(weights, refs):
    weights(("conv1",))
    with pytest.raises(PartialWeightsError):
        backbone_encoder(make_config({"image_size": 64}), refs, CPU)


def test_features_are_standardised_on_the_scans_given(refs, tmp_path):
    config = make_config({"backbone": "squeezenet1_1", "weights": "none", "image_size": 64})
    encoder = backbone_encoder(config, refs, CPU)
    store = SampleStore(tmp_path, encoder.preparation)
    store.fill(refs)
    contents = [ref.key for ref in refs]
    encoder.standardise(store, contents)
    features, logits = encoder.embed(store, contents)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-3)
    assert logits.shape == (6, 1)
    plain = SliceBagClassifier(encoder.classifier.backbone, 1, pooling="mean")
    with torch.inference_mode():
        raw = plain.features(to_tensor(np.concatenate([store.load(content) for content in contents]))).numpy()
    kept = raw.std(axis=0) > 0.02 * raw.std(axis=0).mean()
    expected = (raw - raw.mean(axis=0))[:, kept] / raw.std(axis=0)[kept]
    np.testing.assert_allclose(features[:, kept], expected, atol=2e-2)


def test_auto_is_no_backbone_to_look_through(refs):
    with pytest.raises(ConfigError, match="name it"):
        backbone_encoder(make_config({"backbone": "auto"}), refs, CPU)


def test_scans_of_several_kinds_have_no_one_preparation(refs, samples):
    volume = next(ref for ref in scan_sources([samples / "volumes"]) if ref.status == "ok")
    with pytest.raises(CohortError, match="radiograph CR/DX, volume OT"):
        backbone_encoder(make_config({"weights": "none"}), [*refs, volume], CPU)
