"""`torchrun -m flows.train_ddp`: two Gloo processes give what one process gives."""

import json
import os
import subprocess
import sys

import pytest
import torch

from flows import train_ddp
from pipeline.learn import adapt as learn
from pipeline.learn.ranks import Ranks
from tests.clusters import ROOT, free_port

SETTINGS = ["backbone=squeezenet1_1", "weights=none", "image_size=64", "epochs=2", "classes=[normal,opacity]"]


@pytest.fixture(scope="module")
def labels(samples):
    return samples / "radiographs" / "labels.csv"


def adapt(folder, labels, ranks, *settings):
    """Adapt in one process, or in several by torchrun."""
    command = ["-m", "flows.cli", "adapt"]
    if ranks > 1:
        address = f"127.0.0.1:{free_port()}"
        rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", address]
        command = ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}", *rendezvous, "-m", "flows.train_ddp"]
    chosen = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    target = ["-w", str(folder / "ws"), "--bundle", str(folder / "bundle")]
    return subprocess.run(
        [sys.executable, *command, str(labels), *target, *chosen],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_ranks_train_what_one_process_trains(labels, tmp_path):
    """Batches of 15 do not divide by two; the networks differ by rounding alone."""
    for ranks in (1, 2):
        done = adapt(tmp_path / str(ranks), labels, ranks, "strategy=full", "batch_size=15", "precision=float32")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("bundle: ") == 1
    one, two = (
        torch.load(tmp_path / name / "bundle" / "models" / "model.pt", weights_only=True) for name in ("1", "2")
    )
    assert one.keys() == two.keys()
    worst = max(float((one[name].float() - two[name].float()).abs().max()) for name in one)
    assert worst < 1e-4
    (first,), (second,) = (list((tmp_path / name / "ws" / "runs" / "adapt").glob("*/result.json")) for name in "12")
    history = [json.loads(path.read_text())["history"] for path in (first, second)]
    assert [row[:2] for row in history[0]] == [row[:2] for row in history[1]]
    for one_row, two_row in zip(*history, strict=True):
        assert one_row[2:] == pytest.approx(two_row[2:], abs=1e-4)
    assert len(history[0]) == 2


def test_what_cannot_be_shared_is_refused_in_a_line(command, labels, tmp_path, monkeypatch):
    monkeypatch.setattr(learn, "current_ranks", lambda: Ranks(0, 2))
    chosen = [word for setting in (*SETTINGS, "strategy=from_scratch") for word in ("--set", setting)]
    told = command("adapt", labels, "-w", tmp_path / "ws", "--bundle", tmp_path / "bundle", *chosen)
    assert told.code == 2
    assert told.error.splitlines()[-1] == (
        "scanshift: torchrun: phase from scratch of from_scratch takes batch-norm statistics of whole batches; it must "
        "be trained by one process"
    )
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_it_wants_torchrun(words, monkeypatch, capsys):
    for name in train_ddp.RENDEZVOUS:
        monkeypatch.delenv(name, raising=False)
    assert train_ddp.main(["labels.csv", "-w", "ws", "--bundle", "b", *words]) == 2
    assert capsys.readouterr().err.startswith("start it by torchrun")
