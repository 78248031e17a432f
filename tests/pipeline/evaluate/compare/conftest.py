import csv
import json

import numpy as np
import pytest

from pipeline.workspace import safe_cell


class Folder:
    """A validation's folder: rows and metrics that a test may change before they are written."""

    def __init__(self, path, *, seed=0, skill=1.0, n=200, patients=90, task="multiclass", classes=None):
        self.path = path
        rng = np.random.default_rng(0)  # scans, labels and patients are the same in every folder
        classes = classes or ("normal", "virus", "bacteria")
        self.classes = ("normal", "anomaly") if task == "one_class" else classes
        owner = rng.integers(patients, size=n)
        label = rng.integers(len(classes), size=n)
        hard = rng.normal(size=(n, len(self.classes)))
        own = np.random.default_rng([1, seed])
        shown = np.minimum(label, len(self.classes) - 1)
        logits = hard + skill * np.eye(len(self.classes))[shown] + 0.5 * own.normal(size=hard.shape)
        probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        anomaly = 1 - probability[:, 0]
        self.metrics = {
            "bundle": f"{seed:064d}",
            "task": task,
            "classes": {name: {"threshold": 0.3} for name in self.classes if task != "one_class" or name == "anomaly"},
            "anomaly": {"threshold": 0.6},
        }
        self.rows = [
            {
                "source": f"/scans/Mueller_{i}.dcm",
                "series_uid": f"1.2.3.{i}",
                "label": safe_cell(classes[label[i]]),
                "predicted": safe_cell(self.classes[int(probability[i].argmax())]),
                "anomaly_score": repr(float(anomaly[i])),
                **{f"p_{name}": repr(float(p)) for name, p in zip(self.classes, probability[i], strict=True)},
                "decision": "anomaly" if anomaly[i] >= 0.6 else "normal",
                "patient": f"a{owner[i]:03d}",
            }
            for i in range(n)
        ]

    def write(self):
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        (self.path / "metrics.json").write_text(json.dumps(self.metrics))
        return self.path


@pytest.fixture
def folder(tmp_path):
    """Makes a validation's folder by name, to be changed and written."""

    def make(name, **settings):
        return Folder(tmp_path / name, **settings)

    return make
