"""How well detectors that saw normal scans alone find disease, beside anomalib's and scikit-learn's, in one run.

    SCANSHIFT_WEIGHTS=../shared/weights python benchmarks/anomaly.py out --tool ../shared/tools/make_hospital.py \
        --adrenal FOLDER

Finished cells are appended to out/results.jsonl and not run again; `--tables` prints what is there. Detectors of
pooled features run on every backbone; those that compare or train on maps on resnet18 to layer3 and, PaDiM and
PatchCore with seed 0, on the others. anomalib is installed in out/anomalib-env, which sees this environment's torch, so
that both sides run the same build. `--adrenal` names the NIfTI files of AdrenalMNIST3D with a labels.csv.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from anomaly_commands import TABLES, by_command
from anomaly_peers import compare, make_environment
from anomaly_sites import NORMAL, network, read_site, remember, some_patients
from anomaly_tables import measured, print_tables, rate_of
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from models.detectors import DETECTORS
from pipeline.config import Config
from pipeline.decide.conformal import conformal_scale
from pipeline.detect.fit import fit_detector
from pipeline.detect.screen import screen_normals
from pipeline.detect.slices import StoredNormals
from pipeline.learn.device import uses_bfloat16
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import Preparation
from pipeline.watch import Watch

CPU = torch.device("cpu")
PREPARATION = Preparation(kind="radiograph", modality="CR/DX", image_size=224, slices=1, intensity="auto")
CUT = "resnet18@layer3"
WHOLE = "densenet169"
EARLIER = "densenet169@block3"  # the best by pneumonias of the training split against normals held out of it
BACKBONES = (CUT, WHOLE, EARLIER, "mobilenet_v2", "squeezenet1_0")
POOLED = ("knn", "mahalanobis")
BANKED = ("padim", "patchcore")
TRAINED = ("stfpm", "reverse_distillation", "autoencoder")
SEEDS = range(3)
FITTED_SHARE = 0.9
MISLABELLED = 0.05
LEVEL = 0.05
SPLITS = 50
RATIO, LARGER = 0.0005, 0.001  # of a million patches: anomalib's core-set takes minutes, at its default 0.1 many hours


class Bench:
    """The scans, and the cells."""

    def __init__(self, options):
        self.options, self.out = options, options.out
        self.store = SampleStore(self.out / "cache", PREPARATION)
        self.site = read_site(options.tool, "guangzhou", self.out, self.store)
        self.normals = self._some(self.site.rows("train", NORMAL))
        self.test = self._some(self.site.rows("test"))
        remember()

    def _some(self, rows):
        """At most `--limit` rows, drawn by chance, for a quick trial."""
        return np.random.default_rng(0).permutation(rows)[: self.options.limit or None]

    def fit(self, name, backbone, rows, seed):
        """A detector screened and fitted as `adapt` does, seconds, and the numbers of the rows that were left out."""
        config = Config(task="one_class", backbone=backbone, detector=name, seed=seed)
        known = {"config": config, "device": CPU, "watch": Watch()}
        started = time.monotonic()
        screened = screen_normals(network(backbone), self.store, self.site.cases(rows), **known)
        fitted = fit_detector(name, network(backbone), self.store, screened.kept, **known)
        left_out = np.isin(self.site.contents[rows], [case.ref.key for case in screened.doubtful])
        return fitted.model, time.monotonic() - started, rows[left_out]

    def scores(self, model, rows):
        """Raw scores of rows."""
        return model.raw_scores(self.store, self.site.contents[rows].tolist())

    def detector(self, name, backbone, seed):
        """Guangzhou's normals to guangzhou's test."""
        rows = self.normals[some_patients(self.site.patients[self.normals], FITTED_SHARE, seed)]
        model, fit_s, _ = self.fit(name, backbone, rows, seed)
        started = time.monotonic()
        scores = self.scores(model, self.test)
        return measured(scores, self.site, self.test) | {
            "scans": len(rows),
            "fit_s": round(fit_s, 1),
            "score_s": round(time.monotonic() - started, 1),
        }

    def mislabelled(self, name, backbone, seed):
        """The same with pneumonias among the normals, so many that they are 5 % of what is learned from."""
        rows = self.normals[some_patients(self.site.patients[self.normals], FITTED_SHARE, seed)]
        ill = np.flatnonzero((self.site.splits == "train") & (self.site.labels != NORMAL))
        count = round(len(rows) * MISLABELLED / (1 - MISLABELLED))
        wrong = np.random.default_rng(seed).choice(ill, count, replace=False)
        rows = np.random.default_rng(seed).permutation(np.concatenate([rows, wrong]))
        model, _, left_out = self.fit(name, backbone, rows, seed)
        found = {"mislabelled": count, "left_out": len(left_out), "caught": int(np.isin(wrong, left_out).sum())}
        return measured(self.scores(model, self.test), self.site, self.test) | found

    def plain(self, backbone):
        """scikit-learn's kNN (k = 2) and Ledoit-Wolf Mahalanobis on pooled features of all normals learned from."""
        detector = DETECTORS["knn"](network(backbone), image_size=224, reduced=uses_bfloat16(CPU, "auto"))
        x, z = (self._pooled(detector, rows) for rows in (self.normals, self.test))
        knn = NearestNeighbors(n_neighbors=2).fit(x).kneighbors(z)[0].mean(axis=1)
        gaussian = LedoitWolf().fit(x).mahalanobis(z)
        return {"knn": measured(knn, self.site, self.test), "mahalanobis": measured(gaussian, self.site, self.test)}

    def _pooled(self, detector, rows):
        stream = StoredNormals(self.store, tuple(self.site.contents[rows].tolist()), 0, CPU)
        with torch.inference_mode():
            return torch.cat([detector.pooled(batch.images) for batch in stream()]).double().numpy()

    def alarms(self, name, backbone):
        """A 5 % policy on random patient-wise splits of the normals: half fitted, a quarter calibrates, a quarter new.

        The detector is one of pooled features, which are computed once, so that 50 fits take a minute.
        """
        patients, rates, by_patient, official = self.site.patients[self.normals], [], [], []
        test = self.test[self.site.labels[self.test] == NORMAL]
        for split in range(SPLITS):
            order = np.random.default_rng(split).permutation(np.unique(patients))
            ends = [round(len(order) * share) for share in (0.5, 0.75)]
            fit, calibration, fresh = (self.normals[np.isin(patients, part)] for part in np.split(order, ends))
            model, _, _ = self.fit(name, backbone, fit, split)
            owner = np.unique(self.site.patients[calibration], return_inverse=True)[1]
            scale = conformal_scale(self.scores(model, calibration), owner)
            called = scale.abnormal(self.scores(model, fresh), LEVEL)
            rates.append(float(called.mean()))
            by_patient.append(_per_patient(called, self.site.patients[fresh]))
            official.append(rate_of(scale.abnormal(self.scores(model, test), LEVEL), self.site.patients[test]))
        return {"rates": rates, "by_patient": by_patient, "official": official}

    def peers(self, name, ratio):
        """Ours and anomalib's on all normals, each in its own process; without a ratio ours alone, as by default."""
        python = make_environment(self.options.environment or self.out / "anomalib-env") if ratio else None
        return compare(self, name, ratio, python)

    def command(self, case, detector):
        """Sites and volumes through the command line."""
        return by_command(self, case, detector)


def _per_patient(called, patients):
    """Mean over patients of their share of alarms: the rate for a scan of a new patient."""
    _, owner, count = np.unique(patients, return_inverse=True, return_counts=True)
    return float((np.bincount(owner, weights=called) / count).mean())


def cells(bench):
    """Every cell: its name and how to run it, the most telling first."""

    def detector(name, backbone, seed):
        return f"detector|{name}|{backbone}|{seed}", lambda: bench.detector(name, backbone, seed)

    def mislabelled(name, backbone, seed):
        return f"mislabelled|{name}|{backbone}|{seed}", lambda: bench.mislabelled(name, backbone, seed)

    yield from (detector(name, backbone, 0) for backbone in BACKBONES[:3] for name in POOLED)
    yield from ((f"plain|{name}", lambda n=name: bench.plain(n)) for name in (WHOLE, EARLIER))
    yield from (detector(name, CUT, 0) for name in BANKED + TRAINED)
    for name in BANKED:
        yield f"peers|{name}|{RATIO}", lambda n=name: bench.peers(n, RATIO)
    yield "peers|patchcore|0", lambda: bench.peers("patchcore", 0)
    yield f"alarms|knn|{WHOLE}", lambda: bench.alarms("knn", WHOLE)
    for case in TABLES:
        if case == "adrenal" and not bench.options.adrenal:
            continue
        yield f"command|{case}|auto", lambda c=case: bench.command(c, "auto")
    yield from (mislabelled(name, CUT, 0) for name in POOLED + BANKED + TRAINED)
    yield from (detector(name, backbone, 0) for backbone in BACKBONES[3:] for name in POOLED)
    yield from (detector(name, backbone, seed) for seed in SEEDS[1:] for backbone in BACKBONES for name in POOLED)
    yield from (mislabelled(name, backbone, seed) for backbone in BACKBONES for seed in SEEDS for name in POOLED)
    yield from (detector(name, CUT, seed) for seed in SEEDS[1:] for name in BANKED + TRAINED)
    yield from (detector(name, backbone, 0) for backbone in (WHOLE, *BACKBONES[3:]) for name in BANKED)
    yield f"peers|patchcore|{LARGER}", lambda: bench.peers("patchcore", LARGER)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tool", type=Path, default=Path("../shared/tools/make_hospital.py"))
    parser.add_argument("--adrenal", type=Path, help="folder of AdrenalMNIST3D as NIfTI with labels.csv")
    parser.add_argument("--environment", type=Path, help="anomalib's, if not out/anomalib-env; made if it is not there")
    parser.add_argument("--backbone", default=WHOLE, help="of the cells through the command line")
    parser.add_argument("--minutes", type=float, default=60.0, help="start no cell after this time")
    parser.add_argument("--only", action="append", help="run only cells whose name starts so; may be given again")
    parser.add_argument("--limit", type=int, default=0, help="scans per side, for a quick trial")
    parser.add_argument("--tables", action="store_true", help="print what is there, run nothing")
    options = parser.parse_args()
    results = options.out / (f"trial-{options.limit}.jsonl" if options.limit else "results.jsonl")
    options.out.mkdir(parents=True, exist_ok=True)
    done = {}
    if results.exists():
        done = dict(json.loads(line) for line in results.read_text(encoding="utf-8").splitlines())
    if not options.tables:
        started = time.monotonic()
        bench = Bench(options)
        for name, run in cells(bench):
            late = time.monotonic() - started > options.minutes * 60
            if name in done or late or not name.startswith(tuple(options.only or [""])):
                continue
            done[name] = run()
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, done[name]]) + "\n")
            print(f"{(time.monotonic() - started) / 60:6.1f} min  {name}", flush=True)
    print_tables(done)


if __name__ == "__main__":
    main()
