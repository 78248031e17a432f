import pytest
import yaml

from models.bundle import SETTINGS, SUMS, open_bundle, write_bundle
from models.errors import BundleError
from pipeline.model_record import read_record


def with_policy(bundle, folder, policy):
    """The bundle with another `policy` in its settings, as an older or foreign program would have written it."""
    values = yaml.safe_load(bundle.text(SETTINGS)) | {"policy": policy}
    values.pop("parent")
    names = [line[66:] for line in bundle.text(SUMS).splitlines() if line[66:] != SETTINGS]
    return write_bundle(folder, {SETTINGS: yaml.safe_dump(values)}, {}, {name: bundle.folder / name for name in names})


def test_a_bundle_from_before_policies_still_loads(radiograph_bundle, tmp_path):
    old = {"kind": "sensitivity on labelled target scans", "target": 0.9}
    record = read_record(with_policy(open_bundle(radiograph_bundle), tmp_path / "old", old))
    assert record.policy.rule.text == "sensitivity=0.9"
    assert record.measured_on == "labelled target scans"
    assert record.parent == ""
    assert record.policy.lines[0].endswith("chosen on the labelled target scans")


@pytest.mark.parametrize(
    "policy",
    [
        {"kind": "guessed", "target": 0.9},
        {"kind": "sensitivity on validation rows"},
        {"rule": "false_alarm=5", "measured_on": "validation rows"},
        {"rule": "false_alarm=0.05", "measured_on": "validation rows", "more": 1},
        "false_alarm=0.05",
    ],
)
def test_a_policy_that_makes_no_sense_is_told(radiograph_bundle, tmp_path, policy):
    with pytest.raises(BundleError, match="policy"):
        read_record(with_policy(open_bundle(radiograph_bundle), tmp_path / "spoilt", policy))


def test_the_record_reads_what_it_wrote(radiograph_bundle, tmp_path):
    record = read_record(open_bundle(radiograph_bundle))
    bundle = write_bundle(tmp_path / "again", {SETTINGS: record.to_yaml()}, {"models/model.pt": {}})
    assert read_record(bundle) == record
