import csv
import json

from flows import validate


def test_validate_through_the_command_line(site):
    told = site.told["validate"]
    assert told.code == 0, told.error
    out = site.root / "validation"
    record = told.record
    assert (record["out"], record["report"]) == (str(out), str(out / "report.html"))
    assert {"metrics.json", "per_class.csv", "predictions.csv", "report.html"} == {p.name for p in out.iterdir()}
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["n"], record["n"]) == (20, 20)
    assert record["accuracy"] == metrics["accuracy"]
    assert [row["class"] for row in record["classes"]] == ["normal", "opacity"]
    with (out / "predictions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 20


def test_shortcuts_are_looked_for_where_asked(command, samples, radiograph_bundle, tmp_path):
    labels = samples / "radiographs" / "labels.csv"
    told = command("validate", radiograph_bundle, labels, "-w", tmp_path / "ws", "-o", tmp_path / "out", "--shortcuts")
    assert told.code == 0, told.error
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["shortcuts"]
    assert set(found["columns"]) == {"site"}
    sentences = [one["verdict"] for one in (*found["columns"].values(), found["border"]) if one["found"]]
    assert [line for line in told.out.splitlines() if line.startswith("shortcut: ")] == [
        f"shortcut: {sentence}" for sentence in sentences
    ]


def test_an_error_in_a_task_is_told_as_its_own_line(site):
    told = site.told["failed"]
    assert (told.code, told.out) == (1, "")
    assert told.error == f"scanshift: {site.root / 'missing.csv'}: line 2 names a file that is not there\n"
    assert not (site.root / "nothing").exists()


def test_the_task_is_the_function_behind_the_seal():
    assert validate.validate_task.fn.__wrapped__ is validate.run_validate


def test_without_a_gallery_no_pixels_are_in_the_report(command, samples, radiograph_bundle, tmp_path):
    labels = samples / "radiographs" / "labels.csv"
    for name, options in (("with", ()), ("without", ("--no-gallery",))):
        told = command("validate", radiograph_bundle, labels, "-w", tmp_path / "ws", "-o", tmp_path / name, *options)
        assert told.code == 0, told.error
    assert "data:image/webp" in (tmp_path / "with" / "report.html").read_text()
    assert "<img" not in (tmp_path / "without" / "report.html").read_text()
