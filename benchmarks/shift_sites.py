"""The two hospitals of benchmarks/shift.py: prepared scans, patient-wise halves, label draws, problems and measures."""

import csv
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from simulated_scanners import seen_through
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from models.backbones import build_backbone, joined
from models.classifier import SliceBagClassifier
from models.weights import find_weights, load_weights
from pipeline.config import Config
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.ladder.problem import Problem, Side
from pipeline.learn.ladder.source_rungs import derive
from pipeline.learn.network import weights_folder
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import Preparation
from pipeline.watch import Watch

CLASSES = ("normal", "pneumonia")
PREPARATION = Preparation(kind="radiograph", modality="CR/DX", image_size=224, slices=1, intensity="auto")
SOURCE_SCANS = 1000
HELD_SHARE = 0.2


@dataclass(frozen=True)
class Hospital:
    """Prepared scans of a site: content, label (0 or 1), patient and official split of each."""

    contents: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    splits: np.ndarray

    def side(self, rows):
        """Some rows as the ladder takes them."""
        targets = torch.eye(2)[torch.from_numpy(self.labels[rows])]
        return Side(tuple(self.contents[rows].tolist()), targets, tuple(self.patients[rows].tolist()))


def read_hospital(tool, site, out, store):
    """Write a site's DICOM folder with make_hospital.py (once), ingest and prepare it."""
    folder = out / site
    if not (folder / "labels.csv").exists():
        subprocess.run([sys.executable, str(tool), "cxr", str(folder), "--site", site], check=True)
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    refs = {ref.files[0]: ref for ref in scan_sources([folder]) if ref.status == "ok"}
    kept = [(row, refs[str(folder / row["path"])]) for row in rows if str(folder / row["path"]) in refs]
    refused = store.fill([ref for _, ref in kept])
    kept = [(row, ref) for row, ref in kept if ref.key not in refused]
    first = {ref.key: n for n, (_, ref) in reversed(list(enumerate(kept)))}
    kept = [kept[n] for n in sorted(first.values())]  # byte-identical files once
    return Hospital(
        np.array([ref.key for _, ref in kept]),
        np.array([int(row["label"] != CLASSES[0]) for row, _ in kept]),
        np.array([row["patient"] for row, _ in kept]),
        np.array([row["split"] for row, _ in kept]),
    )


def halves(hospital, seed):
    """Rows of two halves of a site, by patient."""
    patients = np.unique(hospital.patients)
    np.random.default_rng(seed).shuffle(patients)
    first = np.isin(hospital.patients, patients[: len(patients) // 2])
    return np.flatnonzero(first), np.flatnonzero(~first)


def draw(hospital, pool, k, seed):
    """About k rows of a pool, balanced, whole patients; all of it for k = 500."""
    if k >= len(pool):
        return pool
    patients = np.unique(hospital.patients[pool])
    np.random.default_rng(1000 + seed).shuffle(patients)
    chosen, count = [], np.zeros(2, int)
    for patient in patients:
        rows = pool[hospital.patients[pool] == patient]
        more = np.bincount(hospital.labels[rows], minlength=2)
        if (count + more <= k // 2).all():
            chosen.extend(rows)
            count += more
    return np.array(chosen)


def source_rows(hospital, seed=0):
    """1,000 source scans from half of the patients, a fifth of them held, and the other half's rows."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(hospital.splits == "train")
    patients = np.unique(hospital.patients[rows])
    rng.shuffle(patients)
    first = np.isin(hospital.patients[rows], patients[: len(patients) // 2])
    ours, others = rows[first], rows[~first]
    rng.shuffle(ours)
    rng.shuffle(others)
    ours = ours[:SOURCE_SCANS]
    mine = np.unique(hospital.patients[ours])
    held = np.isin(hospital.patients[ours], mine[: round(len(mine) * HELD_SHARE)])
    return ours[~held], ours[held], others


@cache
def network(name, seed=0):
    """A pretrained backbone with the features of all its stages."""
    file = find_weights(name, "imagenet", folder=weights_folder())
    backbone = build_backbone(joined(name), seed=seed)
    load_weights(backbone, file)
    return SliceBagClassifier(backbone, 2, pooling="mean", seed=seed)


def make_problem(name, store, source, held, target, pool, *, seed):
    """What the ladder climbs on; `pool` are all target scans that may be looked at."""
    config = Config(classes=CLASSES, backbone=name, strategy="auto", seed=seed)
    device = torch.device("cpu")
    known = (network(name), store, source, held, target, pool.contents, pool.patients, config, device, Watch())
    return Problem(*known, kept=features_of(name), shown=shown_of(name, pool.contents))


@cache
def shown_of(_name, _pool):
    """What label-free rungs made of the scans, which cells with other numbers of labels share."""
    return {}


@cache
def features_of(_name):
    """Features of plain scans that cells of one backbone share."""
    return {}


def tested(trial, problem, test):
    """AUROC and accuracy of a trial's model on scans that it has not seen."""
    classifier = SliceBagClassifier(build_backbone(problem.classifier.backbone.name), 2, pooling="mean")
    classifier.load_state_dict({**problem.classifier.state_dict(), **trial.model})
    if trial.preparation is None and not any(name.startswith("backbone") for name in trial.model):
        features = problem.features(test.contents, "test")
    elif trial.preparation is not None:
        changed = trial.preparation.harmonise
        store = SampleStore(problem.store.folder, trial.preparation)
        derive(problem.store, test.contents, store, test.contents, lambda sample, _: changed.apply(sample))
        features = problem.features(test.contents, "test", store=store)
    else:
        features = problem.features(test.contents, "test", classifier=classifier)
    with torch.inference_mode():
        logits = classifier.classify(features[:, None], torch.ones(len(features), 1, dtype=torch.bool))
    truth = test.targets.argmax(dim=1)
    margin = (logits[:, 1] - logits[:, 0]).numpy()
    return float(roc_auc_score(truth, margin)), float(((margin > 0) == truth.numpy()).mean())


def last_stage(problem, side):
    """Features of the last stage alone, as facts/baselines.md has them, and labels."""
    features = problem.features(side.contents, "features")[:, -problem.widths[-1] :].numpy()
    return features, side.targets.argmax(dim=1).numpy()


def plain_rows(problem, source, target, test):
    """The scikit-learn rows: target alone, pooled, pooled with the target five times, per-site standardisation."""
    (xs, ys), (xt, yt), (xv, yv) = (last_stage(problem, side) for side in (source, target, test))

    def fit(x, y, z, weights=None):
        scaler = StandardScaler().fit(x)
        model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000)
        model.fit(scaler.transform(x), y, weights)
        return float(roc_auc_score(yv, model.decision_function(scaler.transform(z))))

    both, labels = np.concatenate([xs, xt]), np.concatenate([ys, yt])
    five = np.concatenate([np.ones(len(xs)), np.full(len(xt), 5.0)])
    own = [StandardScaler().fit(x) for x in (xs, xt)]
    apart = np.concatenate([own[0].transform(xs), own[1].transform(xt)])
    equal = np.concatenate([np.full(len(xs), 0.5 / len(xs)), np.full(len(xt), 0.5 / len(xt))]) * len(labels)
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000).fit(apart, labels, equal)
    return {
        "plain target": fit(xt, yt, xv),
        "plain pooled": fit(both, labels, xv),
        "plain pooled x5": fit(both, labels, xv, five),
        "plain per site": float(roc_auc_score(yv, model.decision_function(own[1].transform(xv)))),
    }


def simulated(hospital, rows, scanner, store):
    """Rows of a site as a simulated scanner would have shown them."""
    contents = hospital.contents[rows].tolist()
    names = [f"{content}|simulated 2 {scanner}" for content in contents]
    derive(store, contents, store, names, lambda sample, n: seen_through(scanner, sample, int(rows[n])))
    return Hospital(np.array(names), hospital.labels[rows], hospital.patients[rows], hospital.splits[rows])
