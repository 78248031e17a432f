"""Figures and Markdown tables of benchmarks/anomaly.py."""

from collections import defaultdict

import numpy as np

from pipeline.evaluate.estimates import estimate
from pipeline.evaluate.one_versus_rest import one_versus_rest

NORMAL = "normal"
RESAMPLES = 1000
WHOLE = "all"


def measured(scores, site, rows):
    """AUROC of the abnormal rows against the normal ones, with its interval by patient, and of each subtype alone."""
    labels, subtypes, patients = site.labels[rows], site.subtypes[rows], site.patients[rows]
    found = {}
    for name in (WHOLE, *sorted(set(subtypes) - {""})):
        chosen = (labels == NORMAL) | (subtypes == name) | (name == WHOLE)
        found[name] = _auroc(np.asarray(scores, float)[chosen], labels[chosen] != NORMAL, patients[chosen])
    return {"auroc": found}


def _auroc(scores, positive, patients):
    names, owner = np.unique(patients, return_inverse=True)
    statistic = one_versus_rest(
        ("anomaly",), scores, positive=positive, patient=owner, patients=len(names), threshold=None
    )
    (found,) = estimate([statistic], patients=len(names), rows=len(scores), resamples=RESAMPLES, seed=0)
    return [found["anomaly", "auroc"][key] for key in ("value", "low", "high")]


def rate_of(called, patients):
    """Share of normal scans that are called abnormal, with its interval by patient."""
    names, owner = np.unique(patients, return_inverse=True)
    statistic = one_versus_rest(
        ("alarm",), called.astype(float), positive=np.zeros(len(called), bool), patient=owner, patients=len(names),
        threshold=0.5,
    )  # fmt: skip
    (found,) = estimate([statistic], patients=len(names), rows=len(called), resamples=RESAMPLES, seed=0)
    value, low, high = (found["alarm", "specificity"][key] for key in ("value", "low", "high"))
    return [1 - value, None if high is None else 1 - high, None if low is None else 1 - low]


def say(figure):
    """`0.912 (0.880–0.934)`."""
    value, low, high = figure
    return "–" if value is None else f"{value:.3f}" + ("" if low is None else f" ({low:.3f}–{high:.3f})")


def print_tables(done):
    """Print every table whose cells are there."""
    kinds = defaultdict(dict)
    for name, record in done.items():
        kind, *rest = name.split("|")
        kinds[kind][tuple(rest)] = record
    for kind, table in TABLES.items():
        if kinds[kind]:
            table(kinds[kind], kinds)


def _detectors(found, kinds):
    print("\n### Guangzhou, normals to test: AUROC, seed 0 with its interval by patient, and mean ± SD over seeds\n")
    print("| detector | backbone | all | bacterial | viral | seeds | fit s | score s |\n|" + "---|" * 8)
    rows = defaultdict(dict)
    for (name, backbone, seed), record in found.items():
        rows[name, backbone][int(seed)] = record
    for (name, backbone), seeds in rows.items():
        first = seeds[min(seeds)]
        values = [record["auroc"][WHOLE][0] for record in seeds.values()]
        mean = f"{np.mean(values):.3f} ± {np.std(values):.3f} ({len(values)})" if len(values) > 1 else "1"
        print(f"| {name} | {backbone} | {_three(first)} | {mean} | {first['fit_s']} | {first['score_s']} |")
    for (backbone,), record in kinds["plain"].items():
        for name, row in record.items():
            print(f"| scikit-learn {name} | {backbone} | {_three(row)} | 1 | – | – |")


def _three(record):
    aurocs = record["auroc"]
    return " | ".join(say(aurocs[name]) if name in aurocs else "–" for name in (WHOLE, "bacteria", "virus"))


def _peers(found, _kinds):
    print("\n### Beside anomalib, resnet18 to layer3, same images, weights, threads; each in its own process\n")
    print(
        "| detector | patches kept | side | AUROC | fit s | score s | peak MiB | of it before fitting |\n|" + "---|" * 8
    )
    for (name, ratio), record in found.items():
        kept = "–" if name != "patchcore" else f"{record['bank']} ({float(ratio):.2%})" if record["bank"] else "default"
        for side in [key for key in record if key not in ("bank", "scans")]:
            row = record[side]
            print(
                f"| {name}, {record['scans']} scans | {kept} | {side} | {say(row['auroc'][WHOLE])} | {row['fit_s']} | "
                f"{row['score_s']} | {row['peak_mib']} | {row['start_mib']} |"
            )


def _alarms(found, _kinds):
    for (name, backbone), record in found.items():
        rates, official = record["rates"], [figure[0] for figure in record["official"]]
        print(
            f"\nFalse alarms at 5 %, {name} on {backbone}, {len(rates)} splits: of fresh normals {np.mean(rates):.2%} "
            f"of scans (SD {np.std(rates):.2%}), {np.mean(record['by_patient']):.2%} with each patient counted once; "
            f"of the official test's normals {np.mean(official):.2%}, first split {say(record['official'][0])}"
        )


def _mislabelled(found, kinds):
    print("\n### 5 % of what is learned from are mislabelled pneumonias\n")
    print("| detector | backbone | seeds | clean | mislabelled | change | of them left out |\n|" + "---|" * 7)
    rows = defaultdict(list)
    for key, record in found.items():
        clean = kinds["detector"].get(key)
        if clean is not None:
            figures = (clean["auroc"][WHOLE][0], record["auroc"][WHOLE][0], record["caught"] / record["mislabelled"])
            rows[key[:2]].append(figures)
    for (name, backbone), figures in rows.items():
        before, after, caught = np.mean(figures, axis=0)
        change = f"{before:.3f} | {after:.3f} | {after - before:+.3f}"
        print(f"| {name} | {backbone} | {len(figures)} | {change} | {caught:.0%} |")


def _commands(found, _kinds):
    print("\n### Through the command line: normals of one site, validated\n")
    print("| case | detector | adapt | validate | AUROC | false alarms | promise | said |\n|" + "---|" * 8)
    for (case, detector), record in found.items():
        adapted = record["adapt"] or {"exit": 0, "error": ""}
        validated = record.get("validate", {"exit": "–", "error": "", "result": None})
        area = (validated["result"] or {}).get("auroc") or {}
        figure = [area.get(key) for key in ("value", "low", "high")]
        alarms = (record.get("metrics") or {}).get("false_alarms") or {}
        rate = say([alarms.get(key) for key in ("value", "low", "high")])
        said = adapted["error"] if adapted["exit"] else validated["error"] if validated["exit"] else ""
        print(
            f"| {case} | {detector} | {adapted['exit']} | {validated['exit']} | {say(figure)} | {rate} | "
            f"{alarms.get('promise', '–')} | {said[:160]} |"
        )


TABLES = {
    "detector": _detectors,
    "peers": _peers,
    "alarms": _alarms,
    "mislabelled": _mislabelled,
    "command": _commands,
}
