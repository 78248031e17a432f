import json
import stat

import pytest


@pytest.fixture
def validated(command, samples, radiograph_bundle, new_bundle, tmp_path):
    """Two bundles of one untrained network with two thresholds, validated in workspaces of their own."""
    other = new_bundle(tmp_path / "other", threshold=0.4, size=48)
    folders = []
    for name, bundle in (("a", radiograph_bundle), ("b", other)):
        labels = samples / "radiographs" / "labels.csv"
        told = command("validate", bundle, labels, "-w", tmp_path / f"ws_{name}", "-o", tmp_path / name)
        assert told.code == 0, told.error
        folders.append(tmp_path / name)
    return folders


def test_two_validations_end_to_end(command, validated, tmp_path):
    """Read back from the files, AUROC is what validate measured, to the last digit it tells."""
    told = command("compare", *validated, "-o", tmp_path / "out")
    assert (told.code, told.error) == (0, "")
    record = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert told.out.splitlines()[-1] == record["verdict"]
    assert record["n"] == 40
    for side, folder in zip("ab", validated, strict=True):
        metrics = json.loads((folder / "metrics.json").read_text())
        assert record["sides"][side]["bundle"] == metrics["bundle"]
        assert record["accuracy"]["definition"] == metrics["accuracy"].pop("definition")
        assert record["accuracy"][side] == metrics["accuracy"]
        for name, of in record["classes"].items():
            assert of["auroc"][side]["value"] == metrics["classes"][name]["auroc"]["value"]
            assert of["sensitivity"][side] == metrics["classes"][name]["sensitivity"]
            assert of["threshold"][side] == metrics["classes"][name]["threshold"]
    assert stat.S_IMODE((validated[0] / "predictions.csv").stat().st_mode) == 0o600
    again = command("compare", *validated, "-o", tmp_path / "out", "--json")
    assert again.record["verdict"] == record["verdict"]
    assert again.record["page"] == str(tmp_path / "out" / "compare.html")


def test_refused_and_wrong_use_are_one_line(command, validated, tmp_path):
    a, b = validated
    lines = (b / "predictions.csv").read_text().splitlines(keepends=True)
    (b / "predictions.csv").write_text("".join(lines[:11]))
    told = command("compare", a, b, "-o", tmp_path / "out")
    assert (told.code, told.out) == (1, "")
    assert told.error.startswith("refused: 10 scans of ")
    told = command("compare", a, tmp_path / "missing", "-o", tmp_path / "out")
    assert (told.code, told.out) == (1, "")
    assert (
        told.error == f"scanshift: {tmp_path / 'missing' / 'metrics.json'}: cannot be read; give the folder that "
        "`scanshift validate -o` wrote\n"
    )
    told = command("compare", a, a, "-o", tmp_path / "out", "--seed", "-1")
    assert (told.code, told.out) == (2, "")
    assert not (tmp_path / "out").exists()
