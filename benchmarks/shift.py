"""How much adaptation wins between two hospitals and under simulated scanner shifts, and when it refuses.

    SCANSHIFT_WEIGHTS=../shared/weights python benchmarks/shift.py out --tool ../shared/tools/make_hospital.py

Finished cells are appended to out/results.jsonl and not run again; `--tables` prints what is there. The grid is every
backbone, seed and number of target labels, for probes. Rungs that show every scan to the network anew (harmonise,
AdaBN, scanner matched) are tried with seed 0 only, LP-FT on the target with squeezenet1_0 and seed 0, and each
alignment loss has rows of its own there, without target labels.
"""

import argparse
import json
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from shift_sites import (
    PREPARATION,
    draw,
    halves,
    make_problem,
    network,
    plain_rows,
    read_hospital,
    simulated,
    source_rows,
    tested,
)
from shift_tables import print_tables
from simulated_scanners import SCANNERS
from sklearn.metrics import roc_auc_score

from pipeline.config import Config
from pipeline.learn.backbone_choice import choose_backbone
from pipeline.learn.ladder import climb as climbing
from pipeline.learn.ladder.climb import climb
from pipeline.learn.ladder.probe import fit_probe
from pipeline.learn.ladder.problem import Side
from pipeline.learn.ladder.rungs import rungs
from pipeline.learn.ladder.target_rungs import target_probe
from pipeline.learn.ladder.tuned_rungs import Tuner
from pipeline.learn.ladder.verdict import judge
from pipeline.learn.network import weights_folder
from pipeline.prepare.cache import SampleStore
from pipeline.shift.domain import Domain
from pipeline.shift.measure import measure_shift
from pipeline.shift.two_sample import shift_test
from pipeline.watch import Watch

BACKBONES = ("squeezenet1_0", "mobilenet_v2", "densenet169")
LABELS = (0, 20, 50, 100, 200, 500)
SEEDS = range(5)
LOSSES = ("coral", "dan", "dann", "mcc")
LONG = 10_000.0


class Bench:
    """Both sites, and the cells."""

    def __init__(self, out, tool):
        self.out = out
        self.store = SampleStore(out / "cache", PREPARATION)
        self.source = read_hospital(tool, "guangzhou", out, self.store)
        self.target = read_hospital(tool, "nih", out, self.store)
        self.fit, self.held, self.others = source_rows(self.source)

    def sides(self):
        """The source's two sides."""
        return self.source.side(self.fit), self.source.side(self.held)

    def measure(self, problem):
        """The shift as `strategy: auto` measures it, and whether it was shown."""
        probe = fit_probe(
            problem.features(problem.source.contents, "s"), problem.source.targets, problem.widths, "multiclass"
        )

        def domain(contents, patients, truth):
            features = problem.features(contents, "f")
            standard = ((features - probe.mean) / probe.std).numpy()
            return Domain(standard, probe.logits(features).numpy(), truth, tuple(patients))

        truth = problem.held.targets.numpy().astype(np.int8)
        reference = domain(problem.held.contents, problem.held.patients, truth)
        incoming = domain(problem.unlabelled, problem.patients, None)
        found = measure_shift(reference, incoming, seed=problem.config.seed)
        return found, found.test is None or found.test.rejected

    def climbed(self, problem, test, *, tune=False, seconds=LONG):
        """One ladder: its rungs with what the test scans say of each, its end and its verdict."""
        started = time.monotonic()
        if "shift" not in problem.shown:  # it does not depend on the target's labels
            problem.shown["shift"] = self.measure(problem)
        shift, shifted = problem.shown["shift"]
        stem = self.out / "checkpoints" / "ladder.pt"
        heavy = problem.target is not None and problem.config.seed > 0
        with mock.patch.object(climbing, "rungs", _light if heavy else climbing.rungs):
            found = climb(problem, shifted=shifted, checkpoints=stem, seconds=seconds, tune=tune)
        verdict = judge(
            found, shift, shifted=shifted, wanting="" if problem.target is not None else "no target labels"
        )  # fmt: skip
        figures = {name: tested(trial.completed(), problem, test) for name, trial in found.trials.items()}
        rungs = {
            row.name: {
                "test": figures.get(row.name, (None, None))[0],
                "evidence": row.value,
                "held": row.held,
                "decision": row.decision,
            }
            for row in found.rows
        }
        accuracy = shift.accuracy
        estimate = accuracy.atc_entropy if accuracy is not None and accuracy.estimable else None
        return {
            "kept": found.kept,
            "auto": figures[found.kept][0],
            "accuracy": figures[found.kept][1],
            "accuracy of nothing": figures.get("nothing", (None, None))[1],
            "estimate": None if estimate is None else [estimate.low, estimate.high],
            "refused": verdict.refusal,
            "kind": shift.kind.kind,
            "shifted": shifted,
            "rungs": rungs,
            "seconds": round(time.monotonic() - started, 1),
        }

    def grid(self, name, seed, k):
        """One cell between the two hospitals."""
        pool, test = halves(self.target, seed)
        source, held = self.sides()
        chosen = self.target.side(draw(self.target, pool, k, seed)) if k else None
        problem = make_problem(name, self.store, source, held, chosen, self.target.side(pool), seed=seed)
        tune = name == BACKBONES[0] and seed == 0 and k in (50, 100, 200)
        unseen = self.target.side(test)
        record = self.climbed(problem, unseen, tune=tune, seconds=150 if tune else LONG)
        if chosen is not None:
            record |= plain_rows(problem, _both(source, held), chosen, unseen)
            record["last stage probe"] = self._last_stage(problem, chosen, unseen)
        return record

    def _last_stage(self, problem, chosen, unseen):
        """ScanShift's probe on the target's labels with the last stage's features alone."""
        width = problem.widths[-1]
        x, z = (problem.features(side.contents, "f")[:, -width:] for side in (chosen, unseen))
        logits = fit_probe(x, chosen.targets, (width,), "multiclass").logits(z)
        return float(roc_auc_score(unseen.targets[:, 1], (logits[:, 1] - logits[:, 0]).numpy()))

    def scanner(self, name, scanner):
        """One simulated scanner, without target labels: half of the other patients' scans to look at, half to test."""
        rows = self.others[:800]
        patients = np.unique(self.source.patients[rows])
        first = np.isin(self.source.patients[rows], patients[: len(patients) // 2])
        changed = simulated(self.source, rows, scanner, self.store)
        pool, test = (changed.side(np.flatnonzero(side)) for side in (first, ~first))
        problem = make_problem(name, self.store, *self.sides(), None, pool, seed=0)
        record = self.climbed(problem, test)
        clean = self.source.side(rows[~first])
        source = make_problem(name, self.store, *self.sides(), None, self.source.side(rows[first]), seed=0)
        plain = climb(source, shifted=False, checkpoints=self.out / "checkpoints" / "x.pt", seconds=LONG, tune=False)
        record["clean"] = tested(plain.trial, source, clean)[0]
        return record

    def same_site(self, name, seed):
        """A target that is another part of the source's own patients: nothing may be refused."""
        rng = np.random.default_rng(100 + seed)
        patients = np.unique(self.source.patients[self.others])
        rng.shuffle(patients)
        rows = self.others[np.isin(self.source.patients[self.others], patients[:200])]
        test = self.others[~np.isin(self.source.patients[self.others], patients[:200])][:400]
        problem = make_problem(name, self.store, *self.sides(), None, self.source.side(rows), seed=seed)
        return self.climbed(problem, self.source.side(test))

    def aligned(self, name, seed, loss):
        """One alignment loss from source labels and unlabelled target scans; three epochs over 1,000 source scans."""
        pool, test = halves(self.target, seed)
        problem = make_problem(name, self.store, *self.sides(), None, self.target.side(pool), seed=seed)
        trial = Tuner(problem, self.out / "checkpoints" / "align.pt").aligned(loss)
        auroc, accuracy = tested(trial, problem, self.target.side(test))
        return {"auto": auroc, "accuracy": accuracy, "agreement": trial.evidence.value}

    def choice(self, seed, k):
        """`backbone: auto` on k target labels: the ranking, and the better of its two by held-out evidence."""
        pool, test = halves(self.target, seed)
        chosen = self.target.side(draw(self.target, pool, k, seed))
        config = Config(backbone="auto@all", strategy="auto", seed=seed)
        found = choose_backbone(
            chosen.labelled(self.store),
            chosen.patients,
            config=config,
            device=torch.device("cpu"),
            watch=Watch(),
            folder=weights_folder(),
        )
        rows = {}
        for row in (found.first, found.second):
            problem = make_problem(row.backbone, self.store, None, None, chosen, self.target.side(pool), seed=seed)
            trial = target_probe(problem)
            rows[row.backbone] = (trial.evidence.value, tested(trial, problem, self.target.side(test))[0])
        ranking = {row.backbone: [row.auroc, row.logme, row.h_score, row.leep] for row in found.rows if row.measured}
        return {"rows": rows, "auto": max(rows.values())[1], "ranking": ranking}

    def alarms(self, name):
        """Rejections on 200 splits of one site, 300 scans a side by patient, and between the sites at 50 scans."""
        classifier = network(name)
        problem = make_problem(name, self.store, *self.sides(), None, self.target.side(np.arange(20)), seed=0)
        hospital = self.source
        rows = np.concatenate([self.fit, self.held, self.others[:1000]])
        known = {
            "own": problem.features(hospital.contents[rows].tolist(), "f").numpy(),
            "other": problem.features(self.target.contents.tolist(), "f").numpy(),
        }
        patients = hospital.patients[rows]

        def domain(which, chosen, owners):
            return Domain(known[which][chosen], None, None, tuple(owners[chosen].tolist()))

        rejected = []
        for seed in range(200):
            order = np.unique(patients)
            np.random.default_rng(seed).shuffle(order)
            sides = [np.flatnonzero(np.isin(patients, part))[:300] for part in np.array_split(order, 2)]
            one, two = (domain("own", side, patients) for side in sides)
            rejected.append(shift_test(one, two, seed=seed, permutations=500).rejected)
        power = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            one = domain("own", rng.choice(len(rows), 300, replace=False), patients)
            two = domain("other", rng.choice(len(self.target.contents), 50, replace=False), self.target.patients)
            power.append(shift_test(one, two, seed=seed, permutations=500).rejected)
        width = classifier.backbone.num_features
        return {"false alarms": float(np.mean(rejected)), "power at 50": float(np.mean(power)), "features": width}


def _light(*known, **options):
    """The rungs but those for which every scan goes through the network again."""
    return [rung for rung in rungs(*known, **options) if rung.name not in ("harmonise", "AdaBN", "scanner matched")]


def _both(first, second):
    both = torch.cat([first.targets, second.targets])
    return Side(first.contents + second.contents, both, first.patients + second.patients)


def cells(bench):
    """Every cell: its name and how to run it, the most telling first."""

    def grid(name, seed):
        for k in LABELS:
            yield f"grid|{name}|{seed}|{k}", lambda k=k: bench.grid(name, seed, k)

    for name in BACKBONES:
        yield from grid(name, 0)
    for name in BACKBONES[:2]:
        for scanner in SCANNERS:
            yield f"scanner|{name}|{scanner}", lambda n=name, c=scanner: bench.scanner(n, c)
    for split in range(20):
        yield f"same|{BACKBONES[0]}|{split}", lambda s=split: bench.same_site(BACKBONES[0], s)
    yield f"alarms|{BACKBONES[0]}", lambda: bench.alarms(BACKBONES[0])
    for seed in SEEDS:
        for k in (50, 200):
            yield f"choice|{seed}|{k}", lambda s=seed, k=k: bench.choice(s, k)
    for seed in SEEDS[1:]:
        for name in BACKBONES:
            for k in LABELS[1:]:
                yield f"grid|{name}|{seed}|{k}", lambda n=name, s=seed, k=k: bench.grid(n, s, k)
    for seed in range(3):
        for loss in LOSSES:
            yield f"align|{BACKBONES[0]}|{seed}|{loss}", lambda s=seed, a=loss: bench.aligned(BACKBONES[0], s, a)
    for seed in SEEDS[1:]:
        for name in BACKBONES:
            yield f"grid|{name}|{seed}|0", lambda n=name, s=seed: bench.grid(n, s, 0)
    for scanner in SCANNERS:
        yield f"scanner|{BACKBONES[2]}|{scanner}", lambda c=scanner: bench.scanner(BACKBONES[2], c)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tool", type=Path, default=Path("../shared/tools/make_hospital.py"))
    parser.add_argument("--minutes", type=float, default=75.0, help="start no cell after this time")
    parser.add_argument("--tables", action="store_true", help="print what is there, run nothing")
    options = parser.parse_args()
    results = options.out / "results.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    done = {}
    if results.exists():
        done = dict(json.loads(line) for line in results.read_text(encoding="utf-8").splitlines())
    if not options.tables:
        started = time.monotonic()
        bench = Bench(options.out, options.tool)
        for name, run in cells(bench):
            if name in done or time.monotonic() - started > options.minutes * 60:
                continue
            done[name] = run()
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, done[name]]) + "\n")
            print(f"{(time.monotonic() - started) / 60:6.1f} min  {name}", flush=True)
    print_tables(done)


if __name__ == "__main__":
    main()
