import csv
import json

import pytest

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


def test_predictive_values_at_a_prevalence_are_told_and_stand_in_the_report(
    command, samples, radiograph_bundle, tmp_path
):
    labels, out = samples / "radiographs" / "labels.csv", tmp_path / "out"
    shares = ("--prevalence", "opacity=0.1", "--prevalence", "anomaly=0.02")
    told = command("validate", radiograph_bundle, labels, "-w", tmp_path / "ws", "-o", out, *shares)
    assert told.code == 0, told.error
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["classes"]["opacity"]["at_prevalence"]["prevalence"] == 0.1
    assert metrics["anomaly"]["at_prevalence"]["prevalence"] == 0.02
    assert "\nopacity at a prevalence of 0.1: PPV " in told.out
    assert "Where classes are as common as you said" in (out / "report.html").read_text()
    assert next(line for line in told.out.splitlines() if line.startswith("policy: ")).startswith(
        f"policy: The policy {metrics['policy']['rule']} ("
    )


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (["opacity=1"], "expected CLASS=SHARE with a share above 0 and below 1"),
        (["opacity=nan"], "expected CLASS=SHARE"),
        (["opacity"], "expected CLASS=SHARE"),
        (["=0.1"], "expected CLASS=SHARE"),
        (["opacity=0.1", "opacity=0.2"], "named twice"),
        (["covid=0.1"], "no such class; there are normal, opacity, anomaly"),
    ],
)
def test_a_prevalence_that_makes_no_sense_is_wrong_use(command, samples, radiograph_bundle, tmp_path, shares, said):
    labels, out = samples / "radiographs" / "labels.csv", tmp_path / "out"
    given = [word for share in shares for word in ("--prevalence", share)]
    told = command("validate", radiograph_bundle, labels, "-w", tmp_path / "ws", "-o", out, *given)
    assert told.code == 2
    assert said in told.error
    assert not out.exists()


def test_without_a_gallery_no_pixels_are_in_the_report(command, samples, radiograph_bundle, tmp_path):
    labels = samples / "radiographs" / "labels.csv"
    for name, options in (("with", ()), ("without", ("--no-gallery",))):
        told = command("validate", radiograph_bundle, labels, "-w", tmp_path / "ws", "-o", tmp_path / name, *options)
        assert told.code == 0, told.error
    assert "data:image/webp" in (tmp_path / "with" / "report.html").read_text()
    assert "<img" not in (tmp_path / "without" / "report.html").read_text()
