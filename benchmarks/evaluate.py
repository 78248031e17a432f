"""How long an evaluation with its report takes, beside a loop of scikit-learn over the same resamples.

    python benchmarks/evaluate.py out [--scans 20000] [--classes 14] [--resamples 2000] [--loop 20]

Simulated predictions: one to eight scans a patient, three sites, rare and common findings, once as `multilabel` and
once as `multiclass`. Ours: `measure` (every class with its intervals, over all scans and at each site, accuracy and
calibration) and the files that `validate` writes of it. The loop resamples the same patients, takes their rows, and
calls scikit-learn for each class and scope: AUROC, average precision, Brier score; counts at the threshold by
NumPy. It runs for a few resamples, some before and some after ours, and its time is scaled up per resample; it has no
jackknife, calibration error, macro means or report, all of which ours has. One line of JSON for each task is appended
to out/evaluate.jsonl; the memory is the highest that the process held.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path

import numpy as np
import sklearn
from scipy.special import expit, softmax
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from pipeline.evaluate.intervals import resampled_weights
from pipeline.evaluate.measure import measure
from pipeline.evaluate.predictions import PredictionTable
from pipeline.evaluate.ranking import rank_scores, ranking_areas
from pipeline.evaluate.report import ReportContext, write_per_class_csv, write_validation_report
from pipeline.workspace import write_json

TASKS = ("multilabel", "multiclass")
SITES = ("north", "south", "west")
SEED = 0


def cohort(task, scans, classes, seed=SEED):
    """Predictions of about scans / 3.3 patients of one to eight scans; findings in 2 to 20 % of the scans."""
    rng = np.random.default_rng([seed, TASKS.index(task)])
    images = rng.choice(np.arange(1, 9), size=scans, p=np.array([30, 20, 12, 10, 9, 8, 6, 5]) / 100)
    patient = np.repeat(np.arange(scans), images)[:scans]
    people = patient[-1] + 1
    common = np.geomspace(0.02, 0.2, classes - 1)
    own = rng.normal(size=(people, classes - 1))[patient]  # scans of one patient are alike
    latent = np.sqrt(0.5) * own + np.sqrt(0.5) * rng.normal(size=(scans, classes - 1))
    noise = np.sqrt(0.3) * rng.normal(size=(people, classes))[patient] + np.sqrt(0.7) * rng.normal(
        size=(scans, classes)
    )
    if task == "multilabel":
        found = latent.argsort(axis=0).argsort(axis=0) >= scans - np.round(common * scans)
        truth = np.column_stack([~found.any(axis=1), found])
        logits = 1.4 * truth + noise - np.append(0, 3.0 * np.ones(classes - 1))
        probability, uncalibrated = expit(logits), expit(1.7 * logits)
        score = probability[:, 1:].max(axis=1)
    else:
        shares = np.append(2 * common.sum(), common)
        label = rng.choice(classes, size=people, p=shares / shares.sum())[patient]
        truth = np.eye(classes)[label]
        logits = 2.0 * truth + noise
        probability, uncalibrated = softmax(logits, axis=1), softmax(1.7 * logits, axis=1)
        score = 1 - probability[:, 0]
    site = rng.choice(SITES, size=people, p=[0.5, 0.3, 0.2])[patient]
    return PredictionTable(
        classes=tuple(["normal"] + [f"finding {n}" for n in range(1, classes)]),
        task=task,
        truth=truth.astype(np.int8),
        probability=probability,
        uncalibrated=uncalibrated,
        anomaly_score=score,
        patient=tuple(f"p{n}" for n in patient),
        groups={"site": tuple(site)},
        random_reason="simulated",
    )


def thresholds_of(table):
    """For each class the score that a fifth of the scans without it reach."""
    columns = zip(table.classes, table.probability.T, table.truth.T, strict=True)
    return {name: float(np.quantile(score[truth == 0], 0.8)) for name, score, truth in columns}


def ours(table, thresholds, resamples, folder):
    """Seconds for the measuring and for the files, and the metrics."""
    started = time.perf_counter()
    metrics = measure(table, thresholds, 0.5, resamples=resamples, seed=SEED)
    measured = time.perf_counter()
    write_json(folder / "metrics.json", metrics)
    write_per_class_csv(folder / "per_class.csv", metrics)
    context = ReportContext(
        title="Validation",
        bundle="",
        backbone="none",
        strategy="none",
        weights="none",
        task=table.task,
        classes=table.classes,
        created="2026-01-01T00:00:00Z",
    )
    write_validation_report(folder / "report.html", metrics, table, context)
    return measured - started, time.perf_counter() - measured, metrics


class Loop:
    """The same figures by scikit-learn, one resample after the other."""

    def __init__(self, table, thresholds, resamples):
        patient = table.patient_index
        people = int(patient.max()) + 1
        self.truth, self.probability = table.truth == 1, table.probability
        self.called = table.probability >= np.array([thresholds[name] for name in table.classes])
        site = np.array(table.groups["site"])
        self.scopes = [np.ones(table.n, bool)] + [site == name for name in SITES]
        self.patient = patient
        self.drawn = (column for block in resampled_weights(people, resamples, SEED, 64) for column in block.T)
        self.areas, self.seconds = [], 0.0

    def run(self, resamples):
        """Do the next few resamples."""
        for _ in range(resamples):
            weights = next(self.drawn)
            started = time.perf_counter()
            rows = np.repeat(np.arange(self.patient.size), weights[self.patient].astype(np.intp))
            figures = [self.scope(rows[inside[rows]]) for inside in self.scopes]
            self.seconds += time.perf_counter() - started
            self.areas.append(figures[0][:, :2])

    def scope(self, rows):
        """Nine figures of every class over some rows, shape (classes, 9)."""
        truth, probability, called = self.truth[rows], self.probability[rows], self.called[rows]
        figures = []
        for y, p, c in zip(truth.T, probability.T, called.T, strict=True):
            tp, fp, fn = np.count_nonzero(y & c), np.count_nonzero(~y & c), np.count_nonzero(y & ~c)
            tn = y.size - tp - fp - fn
            counted = tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn), 2 * tp / (2 * tp + fp + fn)
            areas = roc_auc_score(y, p), average_precision_score(y, p), brier_score_loss(y, p)
            figures.append([*areas, *counted, (y == c).mean()])
        return np.array(figures)


def compare(task, options, folder):
    """One line of the record: ours between two halves of the loop."""
    table = cohort(task, options.scans, options.classes)
    thresholds = thresholds_of(table)
    folder.mkdir(parents=True, exist_ok=True)
    loop = Loop(table, thresholds, options.resamples)
    loop.run(options.loop // 2)
    measured, written, metrics = ours(table, thresholds, options.resamples, folder)
    loop.run(options.loop - options.loop // 2)
    per_resample = loop.seconds / options.loop
    people = loop.patient.max() + 1
    weights = next(resampled_weights(people, options.resamples, SEED, options.loop))[:, : options.loop]
    ranked = [rank_scores(table.probability[:, c], table.truth[:, c] == 1, loop.patient) for c in table.measured]
    apart = np.abs(np.stack([ranking_areas(each, weights) for each in ranked]) - np.stack(loop.areas, axis=2))
    return {
        "task": task,
        "scans": table.n,
        "patients": metrics["n_patients"],
        "classes": len(table.classes),
        "scopes": 1 + len(SITES),
        "resamples": options.resamples,
        "measure_s": round(measured, 2),
        "report_s": round(written, 2),
        "loop_s_per_resample": round(per_resample, 3),
        "loop_s": round(per_resample * options.resamples, 1),
        "times_faster": round(per_resample * options.resamples / (measured + written), 1),
        "loop_resamples_run": options.loop,
        "largest_difference": float(f"{apart.max():.1g}"),  # of AUROC or AUPRC, on the resamples of the loop
        "report_kb": round((folder / "report.html").stat().st_size / 1024),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "cores": len(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "scikit_learn": sklearn.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--scans", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--loop", type=int, default=20, help="resamples of the loop, scaled up to --resamples")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    options = parser.parse_args()
    for task in options.tasks:
        row = compare(task, options, options.out / task)
        with (options.out / "evaluate.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print("\n".join(f"{key:>28}  {value}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
