"""`python -m monai.bundle` on bundles of every kind, without a network."""

import csv
import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from pipeline.card.render import METADATA
from pipeline.card.schema import SCHEMA

KINDS = ("multiclass", "volume", "multilabel", "one_class")
VERIFY = ("verify_metadata", "--meta_file", METADATA, "--filepath", "configs/schema.json")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def monai_bundle(monkeypatch):
    """Runs the module as a program in this process, in a folder, with every way out shut."""

    def no_way_out(*_):
        raise OSError("no network")

    def call(folder, *arguments):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["monai.bundle", *map(str, arguments)])
        runpy.run_module("monai.bundle", run_name="__main__")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, no_way_out)
    monkeypatch.setattr(socket, "getaddrinfo", no_way_out)
    return call


def run_words(incoming, out):
    root = ("--bundle_root", ".", "--source", incoming, "--output_dir", out)
    return ("run", "--config_file", "configs/inference.json", *root)


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_is_verified_and_a_folder_scored(made, monai_bundle, kind, tmp_path):
    bundle = made(kind)
    there = sorted(bundle.folder.rglob("*"))
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for path in sorted((bundle.folder.parent / "scans").glob("5?.*")):
        shutil.copy(path, incoming)
    monai_bundle(bundle.folder, *VERIFY)
    monai_bundle(bundle.folder, *run_words(incoming, tmp_path / "out"))
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert {row["status"] for row in rows} == {"scored"}
    assert sorted(bundle.folder.rglob("*")) == there


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_alone_can_be_had_from_the_configuration(made, kind):
    parser = ConfigParser()
    parser.read_config(made(kind).folder / "configs/inference.json")
    parser["bundle_root"] = str(made(kind).folder)
    assert isinstance(parser.get_parsed_content("network_def"), torch.nn.Module)


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode != 0,
    reason="a process without a network cannot be made here",
)
def test_the_commands_work_in_a_process_without_a_network(made, tmp_path):
    bundle = made("one_class")
    (tmp_path / "incoming").mkdir()
    shutil.copy(bundle.folder.parent / "scans" / "0.png", tmp_path / "incoming")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-m", "monai.bundle", *run_words(tmp_path / "incoming", tmp_path / "out")],
        cwd=bundle.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "0.png" in (tmp_path / "out" / "scores.csv").read_text()


def test_a_detectors_output_is_a_rank(made):
    given = json.loads(made("one_class").text(METADATA))
    output = given["network_data_format"]["outputs"]["pred"]
    assert (output["type"], output["num_channels"]) == ("rank", 1)
    assert "not a probability" in output["channel_def"]["0"]
    assert given["task"] == "anomaly detection in photographs (OT)"


def test_volumes_are_bags_and_classes_are_named(made):
    given = json.loads(made("volume").text(METADATA))["network_data_format"]
    assert given["inputs"]["image"]["spatial_shape"] == ["*", 32, 32]
    assert given["inputs"]["image"]["format"] == "bag of slices"
    assert given["outputs"]["pred"]["channel_def"] == {"0": "normal", "1": "mass", "2": "cyst"}
    several = json.loads(made("multilabel").text(METADATA))["network_data_format"]["outputs"]["pred"]
    assert several["format"].endswith("each by itself")


def test_statements_stand_in_the_metadata_and_nothing_in_it_is_carried_out(made):
    """MONAI evaluates texts that begin with `$`, resolves `@`, and reads files for `%`."""
    bundle = made("multiclass")
    given = json.loads(bundle.text(METADATA))
    assert given["authors"] == "'@bundle"
    assert given["references"] == ["Doe 2020", "'%/etc/hostname"]
    assert given["copyright"] == "not stated"
    assert given["eval_metrics"]["macro_auroc_low"] <= given["eval_metrics"]["macro_auroc"]
    parser = ConfigParser()
    parser.read_meta(bundle.folder / METADATA)
    parser.read_config(bundle.folder / "configs/inference.json")
    parser.parse()
    seen = parser.get_parsed_content("_meta_#network_data_format#outputs#pred#channel_def")
    assert seen["2"] == "'$__import__('os').abort()"


def test_the_schema_knows_every_field_that_is_written(made):
    assert set(json.loads(made("volume").text(METADATA))) == set(SCHEMA["properties"])
