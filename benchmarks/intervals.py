"""How often 95 % intervals of an AUROC hold the true one, and how often paired tests find a difference that is not.

    python benchmarks/intervals.py out [--cohorts 2000] [--resamples 1000] [--tests 10000]

Simulated cohorts, binormal: score = m y + sqrt(r) u_patient + sqrt(1 - r) e, y 0 or 1, u and e standard normal,
r = 0.5, m = sqrt(2) Phi^-1(AUROC). A positive scan of one patient less a negative one of another is N(m, 2), so the
AUROC is exact. 40 % of patients (or scans) are positive. Designs: `one` scan a patient; `same`, 1 to 4 scans that share
the patient's label; `mixed`, 1 to 4 scans with labels of their own. Two models share 0.6 of either part of the
variance, and have the same AUROC. Finished cells are appended to out/intervals.jsonl and not run again; `--tables`
prints what is there.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.stats import norm

from pipeline.evaluate.delong import auroc_interval, paired_test
from pipeline.evaluate.estimates import estimate
from pipeline.evaluate.one_versus_rest import one_versus_rest

DESIGNS = ("one", "same", "mixed")
PATIENTS = (60, 150, 400)
AUROCS = (0.7, 0.9, 0.97)
PREVALENCE, WITHIN, SHARED = 0.4, 0.5, 0.6
SCALES = ("plain", "logit", "logit_t")
FORMS = ("bca", *SCALES)
COVERED, REJECTED = (0.935, 0.965), (0.04, 0.06)


def cohort(rng, design, patients, auroc):
    """Scores of two models (2, n), labels and patients (n,); each side has at least two patients."""
    while True:
        images = np.ones(patients, int) if design == "one" else rng.integers(1, 5, patients)
        patient = np.repeat(np.arange(patients), images)
        n = patient.size
        positive = rng.random(n) < PREVALENCE if design == "mixed" else (rng.random(patients) < PREVALENCE)[patient]
        if all(np.unique(patient[side]).size >= 2 for side in (positive, ~positive)):
            break
    of_patients = _two(rng, patients)[:, patient]
    scores = np.sqrt(WITHIN) * of_patients + np.sqrt(1 - WITHIN) * _two(rng, n)
    return scores + np.sqrt(2) * norm.ppf(auroc) * positive, positive, patient


def _two(rng, n):
    return np.sqrt(SHARED) * rng.normal(size=n) + np.sqrt(1 - SHARED) * rng.normal(size=(2, n))


def bca_interval(score, positive, patient, *, resamples, seed):
    """The interval of AUROC as metrics.json has it: limits, or None, and the method."""
    people = int(patient.max()) + 1
    statistic = one_versus_rest(("c",), score, positive=positive, patient=patient, patients=people, threshold=None)
    (found,) = estimate([statistic], patients=people, rows=score.size, resamples=resamples, seed=seed)
    return found["c", "auroc"]


def intervals(design, patients, auroc, *, cohorts, resamples, seed=0):
    """Coverage of the three intervals over cohorts: how often the truth lies within, below and above; mean width."""
    counts = {form: Counter() for form in FORMS}
    for number in range(cohorts):
        rng = np.random.default_rng([seed, DESIGNS.index(design), patients, round(1000 * auroc), number])
        (score, _), positive, patient = cohort(rng, design, patients, auroc)
        bca = bca_interval(score, positive, patient, resamples=resamples, seed=number)
        limits = {"bca": (bca["low"], bca["high"])}
        for scale in SCALES:
            found = auroc_interval(score, positive, patient, scale=scale)
            limits[scale] = (found.low, found.high)
        for form, (low, high) in limits.items():
            counts[form].update(_placed(low, high, auroc))
        counts["bca"]["exact"] += bca.get("method") == "exact"
    return {form: dict(count) | {"cohorts": cohorts} for form, count in counts.items()}


def _placed(low, high, truth):
    if low is None:
        return {"none": 1}
    place = "below" if truth < low else "above" if truth > high else "within"
    return {place: 1, "width": high - low}


def false_positives(design, patients, auroc, *, tests, seed=1):
    """How often the paired test of two models with the same AUROC gives p < 0.05, patients known and not."""
    counts = Counter()
    for number in range(tests):
        rng = np.random.default_rng([seed, DESIGNS.index(design), patients, round(1000 * auroc), number])
        scores, positive, patient = cohort(rng, design, patients, auroc)
        for form, owner in (("clustered", patient), ("each scan alone", None)):
            found = paired_test(*scores, positive, owner)
            counts[form] += found.p_value is not None and found.p_value < 0.05
            counts[f"{form}, none"] += found.p_value is None
    return dict(counts) | {"tests": tests}


def cells():
    """Every cell of the grid."""
    return [(design, patients, auroc) for patients in PATIENTS for design in DESIGNS for auroc in AUROCS]


def table(records):
    """Rows of text: coverage with the misses on either side, widths, and false positives."""
    lines = [
        "| scans a patient | patients | AUROC | BCa over patients | truth below / above | DeLong, plain "
        "| DeLong, logit | DeLong, logit, t | widths | paired test, p < 0.05 | patients ignored |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in cells():
        found = records.get(cell)
        if not found:
            continue
        shown = [_covered(found["intervals"][form]) for form in FORMS]
        bca = found["intervals"]["bca"]
        sides = " / ".join(_percent(bca.get(side, 0) / bca["cohorts"]) for side in ("below", "above"))
        widths = " / ".join(f"{_width(found['intervals'][form]):.3f}" for form in FORMS)
        tests = found["tests"]
        rate, ignored = (tests[form] / tests["tests"] for form in ("clustered", "each scan alone"))
        rate = _percent(rate) + _flag(rate, REJECTED)
        ignored = "–" if cell[0] == "one" else _percent(ignored)
        row = [cell[0], str(cell[1]), str(cell[2]), shown[0], sides, *shown[1:], widths, rate, ignored]
        lines.append("| " + " | ".join(row) + " |")
    return lines


def _covered(count):
    """Coverage; a cohort without an interval is not covered, and told."""
    share = count.get("within", 0) / count["cohorts"]
    none = f" ({count['none']} without)" if count.get("none") else ""
    exact = f" ({count['exact']} exact)" if count.get("exact") else ""
    return _percent(share) + _flag(share, COVERED) + none + exact


def _width(count):
    return count.get("width", 0) / max(1, count["cohorts"] - count.get("none", 0))


def _flag(share, wanted):
    return "" if wanted[0] <= share <= wanted[1] else " ✗"


def _percent(share):
    return f"{100 * share:.1f} %"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--cohorts", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--tests", type=int, default=10_000)
    parser.add_argument("--tables", action="store_true", help="print what is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "intervals.jsonl"
    sizes = [options.cohorts, options.resamples, options.tests]
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    records = {tuple(row["cell"]): row for row in done if row["sizes"] == sizes}
    for cell in () if options.tables else cells():
        if cell in records:
            continue
        started = time.monotonic()
        row = {"cell": cell, "sizes": sizes}
        row["intervals"] = intervals(*cell, cohorts=options.cohorts, resamples=options.resamples)
        row["tests"] = false_positives(*cell, tests=options.tests)
        row["seconds"] = round(time.monotonic() - started, 1)
        records[cell] = row
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(cell, f"{row['seconds']} s", flush=True)
    print(f"{options.cohorts} cohorts, {options.resamples} resamples; {options.tests} pairs of models")
    print("\n".join(table(records)))


if __name__ == "__main__":
    main()
