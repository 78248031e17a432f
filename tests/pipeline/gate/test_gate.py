"""How far a scan lies from those that a model was adapted to, and what a bundle may not claim of it."""

from dataclasses import replace

import pytest
import torch

from models.backbones import build_backbone
from models.bundle import Bundle
from models.errors import BundleError
from models.stage_mean import familiar_stage, with_stage_mean
from pipeline.gate.gate import MOST_SCANS, TENSORS, Gate, check_gate, direction, distances, read_gate
from pipeline.gate.record import GateRecord

RECORD = GateRecord(stage="layer2", neighbours=2, usual=0.1, limit=0.5, scans=3, held_out=20)
BANK = torch.eye(3)


def test_distance_is_the_mean_to_the_nearest_ones_by_hand():
    """From (1, 0, 0): 0 to itself and sqrt(2) to both others, so that the two nearest are sqrt(2) / 2 away."""
    assert distances(BANK[:1], BANK, 2).tolist() == pytest.approx([2**0.5 / 2])
    assert distances(BANK[:1], BANK, 9).tolist() == pytest.approx([2 * 2**0.5 / 3])


def test_a_scan_is_the_direction_of_the_mean_of_its_slices():
    found = direction(torch.tensor([[6.0, 0.0], [0.0, 8.0]]))
    torch.testing.assert_close(found, torch.tensor([0.6, 0.8]))


def test_beyond_the_limit_a_scan_is_refused_with_both_distances():
    gate = Gate(RECORD, BANK)
    assert Gate(replace_limit(0.75), BANK).refusal(BANK[:1]) == ""
    told = gate.refusal(BANK[:1])
    assert told.startswith("NOT_APPLICABLE: unlike all scans that the model was adapted to (distance 0.71;")
    assert "99 % lie within 0.1, and up to 0.5 is scored" in told
    assert gate.refusal(BANK[:1] * float("nan")).startswith("NOT_APPLICABLE")


def replace_limit(limit):
    return RECORD.model_copy(update={"limit": limit})


@pytest.mark.parametrize(
    ("name", "stage"),
    [("resnet18", "layer3"), ("resnet18@layer2", "layer2"), ("mobilenet_v2", "stage3"), ("densenet169", "block3")],
)
def test_the_stage_is_the_last_of_stride_16(name, stage):
    assert familiar_stage(build_backbone(name), 224) == stage


def test_no_stage_after_the_last_that_runs_is_taken():
    assert familiar_stage(build_backbone("resnet18"), 224, "layer1") == "layer1"


def test_stage_means_come_with_the_rows_of_one_pass():
    backbone = build_backbone("squeezenet1_1", seed=1).eval()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    stage = list(backbone.stages)[-2]
    with torch.inference_mode():
        found = with_stage_mean(backbone, stage, backbone, backbone)(images)
        expected = torch.cat([backbone(images), backbone.feature_maps(images)[stage].mean(dim=(2, 3))], dim=1)
    torch.testing.assert_close(found, expected)
    assert not backbone.stages[stage]._forward_hooks


@pytest.fixture
def bundle(tmp_path):
    """Writes a state dict as a gate of a bundle."""
    (tmp_path / "models").mkdir()

    def write(state):
        torch.save(state, tmp_path / TENSORS)
        return Bundle(tmp_path, "0" * 64)

    return write


def test_a_gate_is_read_as_it_was_written(bundle):
    gate = read_gate(bundle(Gate(RECORD, BANK).tensors()), RECORD)
    assert torch.equal(gate.bank, BANK)
    assert gate.record == RECORD
    assert read_gate(bundle({}), None) is None


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"bank": [1.0]},
        {"bank": BANK.double()},
        {"bank": BANK[:2]},
        {"bank": BANK[0]},
        {"bank": BANK * 2},
        {"bank": BANK * float("nan")},
        {"bank": BANK, "more": BANK},
        {"bank": torch.eye(MOST_SCANS + 1)},
    ],
)
def test_a_bank_that_makes_no_sense_is_refused(bundle, state):
    with pytest.raises(BundleError, match="makes no sense"):
        read_gate(bundle(state), RECORD)


def test_a_missing_bank_and_one_of_another_network_are_refused(bundle, tmp_path):
    with pytest.raises(BundleError, match="missing"):
        read_gate(Bundle(tmp_path, ""), RECORD)
    gate = Gate(RECORD, BANK)
    for backbone in (build_backbone("resnet18@layer2"), build_backbone("squeezenet1_1")):
        with pytest.raises(BundleError, match="the gate does not fit"):
            check_gate(Bundle(tmp_path, ""), gate, backbone)
    check_gate(Bundle(tmp_path, ""), replace(gate, bank=torch.eye(128)[:3]), build_backbone("resnet18@layer2"))
