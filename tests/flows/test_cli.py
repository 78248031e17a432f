import csv
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nibabel
import pytest
import yaml

from flows import cli, commands

COMMANDS = sorted(commands.COMMANDS)
HEAVY = {"torch", "prefect", "monai", "matplotlib", "sklearn", "numpy", "pydicom", "sqlalchemy"}


def modules_after(*arguments):
    code = (
        "import sys\nfrom flows.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    return set(done.stdout.partition("MODULES")[2].split()), done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["--version"], ["nonsense"]])
def test_help_imports_nothing_heavy(arguments):
    modules, out = modules_after(*arguments)
    assert "flows.cli" in modules
    assert not modules & HEAVY
    assert "usage: scanshift" in out or arguments in (["--version"], ["nonsense"])


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_version_everywhere(name, command):
    told = command(*([name] if name else []), "--version")
    assert (told.code, told.out, told.error) == (0, f"scanshift {version('scanshift')}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_says_what_it_is_for(name, command):
    told = command(name, "--help")
    assert told.code == 0
    assert "research use only" in told.out
    assert "--json" in told.out


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["score"], ["adapt", "labels.csv"], ["serve", "x", "--port", "many"], ["--jso"]],
)
def test_wrong_use_is_exit_2(arguments, command):
    told = command(*arguments)
    assert told.code == 2
    assert told.out == ""
    assert told.error.startswith("usage: scanshift")


def test_the_parser_and_the_commands_are_the_same_set():
    (choices,) = [action.choices for action in cli.build_parser()._actions if action.dest == "command"]
    assert sorted(choices) == COMMANDS


def test_an_interruption_is_exit_130(command, monkeypatch, tmp_path):
    def interrupt(_options):
        raise KeyboardInterrupt

    monkeypatch.setitem(commands.COMMANDS, "backbones", interrupt)
    told = command("backbones")
    assert (told.code, told.out) == (130, "")
    assert told.error.startswith("interrupted")
    assert told.error.count("\n") == 1


def test_convert_writes_volumes_and_series_csv(command, samples, tmp_path):
    told = command("convert", samples / "ct", samples / "broken", "-o", tmp_path / "out", "--json")
    assert told.code == 0
    assert told.record == {"series": str(tmp_path / "out" / "series.csv"), "counts": {"ok": 1, "refused": 7}}
    with (tmp_path / "out" / "series.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["status"] == "ok"]
    image = nibabel.load(tmp_path / "out" / row["file"])
    assert image.shape[2] == 16
    assert image.get_data_dtype() == "float32"


def test_convert_tells_counts_on_its_last_line(command, samples, tmp_path):
    told = command("convert", samples / "ct", "-o", tmp_path / "out")
    assert told.out.splitlines()[-1] == "1 ok"


def test_labels_come_from_class_folders(command, samples, tmp_path):
    for n, path in enumerate(sorted((samples / "radiographs" / "north").iterdir())[:6]):
        target = tmp_path / "scans" / ("ill" if n % 2 else "normal") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    told = command("labels", tmp_path / "scans", "-o", tmp_path / "labels.csv", "--json")
    assert told.code == 0
    assert told.record == {"labels": str(tmp_path / "labels.csv"), "rows": 6, "labelled": 6}
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["label"] for row in rows) == ["ill"] * 3 + ["normal"] * 3
    assert all((tmp_path / row["path"]).is_file() for row in rows)


def test_labels_stay_empty_where_folders_are_no_classes(command, samples, tmp_path):
    told = command("labels", samples / "volumes", "-o", tmp_path / "labels.csv")
    assert told.code == 0
    assert told.out == f"{tmp_path / 'labels.csv'}: 24 rows, 0 with a label from their folder\n"


def test_backbones_lists_which_have_weights(command, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    told = command("backbones", "--json")
    assert told.code == 0
    assert {"resnet18", "densenet121", "squeezenet1_1"} <= set(told.record["backbones"])
    assert set(told.record["backbones"].values()) == {""}
    assert "resnet18" in command("backbones").out


def test_weights_list_check_and_add(command, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    assert command("weights", "list").out == "none here\n"
    assert command("weights", "check", "--json").record == {"weights": {}}
    wrong = tmp_path / "resnet18-f37072fd.pth"
    wrong.write_bytes(b"not the weights")
    told = command("weights", "add", wrong)
    assert (told.code, told.out, told.error.count("\n")) == (1, "", 1)
    assert not list((tmp_path / "hub").rglob("*.pth"))
    put = tmp_path / "hub" / "hub" / "checkpoints"
    put.mkdir(parents=True)
    (put / wrong.name).write_bytes(b"torn download")
    told = command("weights", "check")
    assert told.code == 1
    assert told.out.splitlines()[-1] == "1 files, 1 wrong"
    assert command("weights", "add").code == 2


def test_workspace_clean_trims_the_cache(command, monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.prepare.cache.trim.__kwdefaults__", {"cap_bytes": 10, "keep": ()})
    cache = tmp_path / "ws" / "cache"
    cache.mkdir(parents=True)
    (cache / "a.npy").write_bytes(b"x" * 100)
    (tmp_path / "ws" / "catalog.db").write_bytes(b"y" * 100)
    told = command("workspace", "clean", "-w", tmp_path / "ws", "--json")
    assert (told.code, told.record) == (0, {"freed_bytes": 100})
    assert not (cache / "a.npy").exists()
    assert (tmp_path / "ws" / "catalog.db").exists()


def test_dry_run_of_adapt_writes_no_bundle(command, samples, tmp_path):
    arguments = ["--set", "backbone=squeezenet1_1", "--set", "weights=none", "--dry-run"]
    labels = samples / "radiographs" / "labels.csv"
    told = command("adapt", labels, "-w", tmp_path / "ws", "--bundle", tmp_path / "b", *arguments, "--json")
    assert told.code == 0
    assert told.record["classes"] == "normal, opacity"
    assert told.record["scans"]["test"]["patients"] == 32
    assert told.record["weights"] == "random"
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "ws" / "runs").exists()


def test_dry_run_of_score_writes_nothing(command, incoming, radiograph_bundle, tmp_path):
    told = command("score", incoming, "--bundle", radiograph_bundle, "-o", tmp_path / "out", "--dry-run", "--json")
    assert told.code == 0
    assert told.record == {"counts": {"to score": 24, "done before or twice": 0, "refused": 2, "ignored": 1}}
    assert not (tmp_path / "out").exists()


def test_json_is_one_object_on_standard_output(command, incoming, radiograph_bundle, tmp_path):
    told = command("score", incoming, "--bundle", radiograph_bundle, "-o", tmp_path / "out", "--json")
    assert told.code == 0
    assert told.record == {
        "scores": str(tmp_path / "out" / "scores.csv"),
        "counts": {"scored": 24, "refused": 2, "ignored": 1},
        "heatmaps": "",
        "dicom_results": "",
        "notice": "",
        "joined": "",
    }


def test_the_entry_point_of_prefect_yaml_exists():
    file = Path(cli.__file__).resolve().parents[1] / "prefect.yaml"
    record = yaml.safe_load(file.read_text(encoding="utf-8"))
    (deployment,) = record["deployments"]
    path, name = deployment["entrypoint"].split(":")
    assert (file.parent / path).is_file()
    module = path.removesuffix(".py").replace("/", ".")
    code = f"from {module} import {name} as flow; print(flow.name, *flow.parameters.properties)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["scanshift-nightly", *deployment["parameters"]]
    assert deployment["schedules"][0]["timezone"] == "UTC"
