"""Tables of benchmarks/shift.py in Markdown."""

from collections import defaultdict

import numpy as np
from scipy.stats import t

ROWS = ("plain target", "last stage probe", "auto", "plain pooled", "plain pooled x5", "plain per site")


def print_tables(done):
    """Print every table whose cells are there."""
    grid = defaultdict(dict)
    for name, record in done.items():
        kind, *rest = name.split("|")
        if kind == "grid":
            grid[rest[0]][int(rest[1]), int(rest[2])] = record
    for backbone, found in grid.items():
        _labelled(backbone, found)
        _unlabelled(backbone, found)
    _choice(done)
    _scanners(done)
    _rest(done)


def _say(values):
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def _labelled(backbone, found):
    counts = sorted({k for _, k in found if k})
    seeds = sorted({seed for seed, _ in found})
    print(f"\n### {backbone}: nih test halves, AUROC, mean ± SD over seeds {seeds}\n")
    print("| target labels | " + " | ".join(map(str, counts)) + " |\n|---|" + "---|" * len(counts))
    names = list(ROWS)
    for record in found.values():
        names += [name for name in record["rungs"] if name not in names]
    for name in names:
        cells = []
        for k in counts:
            records = [found[seed, k] for seed in seeds if (seed, k) in found]
            values = [r.get(name) if name in ROWS else r["rungs"].get(name, {}).get("test") for r in records]
            cells.append(_say(values))
        print(f"| {name if name in ROWS else 'rung: ' + name} | " + " | ".join(cells) + " |")
    for other in ("last stage probe", "plain target"):
        cells = [_paired([found[seed, k] for seed in seeds if (seed, k) in found], other) for k in counts]
        print(f"| auto − {other}, 95 % interval | " + " | ".join(cells) + " |")
    pooled = [
        min(r["auto"] - max(r[name] for name in ROWS[3:]) for r in records)
        if (records := [found[seed, k] for seed in seeds if (seed, k) in found])
        else float("nan")
        for k in counts
    ]
    print("| auto − best pooled row, smallest over seeds | " + " | ".join(f"{value:+.3f}" for value in pooled) + " |")


def _paired(records, other):
    gaps = np.array([record["auto"] - record[other] for record in records])
    if len(gaps) < 2:
        return f"{gaps.mean():+.3f}"
    half = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
    return f"{gaps.mean():+.3f} ({gaps.mean() - half:+.3f} to {gaps.mean() + half:+.3f})"


def _unlabelled(backbone, found):
    records = [record for (_, k), record in sorted(found.items()) if k == 0]
    for seed, record in enumerate(records):
        told = f"estimate {record['estimate']}" if record["estimate"] else "accuracy cannot be estimated"
        ended = "refused" if record["refused"] else "NOT refused"
        print(f"\n{backbone}, no target labels, seed {seed}: {ended}, {told}; measured afterwards: accuracy "
              f"{record['accuracy']:.3f}, AUROC {record['auto']:.3f} (kept {record['kept']})")  # fmt: skip


def _choice(done):
    """`backbone: auto`."""
    found = defaultdict(list)
    for name, record in done.items():
        if name.startswith("choice|"):
            found[int(name.split("|")[2])].append(record)
    if found:
        print("\n### backbone: auto, strategy: auto\n")
    for k, records in sorted(found.items()):
        kept = [max(record["rows"], key=lambda name, rows=record["rows"]: rows[name][0]) for record in records]
        print(f"k = {k}: {_say([r['auto'] for r in records])} over {len(records)} seeds; kept {', '.join(kept)}\n")


def _scanners(done):
    rows = [(name.split("|")[1:], record) for name, record in done.items() if name.startswith("scanner|")]
    if not rows:
        return
    print("\n### Simulated scanners, no target labels\n")
    print("| backbone | scanner | clean | nothing | auto | won back | kept | refused | other rungs |\n|" + "---|" * 9)
    for (backbone, scanner), record in rows:
        before = record["rungs"]["nothing"]["test"]
        lost, won = record["clean"] - before, record["auto"] - before
        others = ", ".join(f"{n} {r['test']:.3f}" for n, r in record["rungs"].items() if r["test"] and n != "nothing")
        print(
            f"| {backbone} | {scanner} | {record['clean']:.3f} | {before:.3f} | {record['auto']:.3f} | "
            f"{won / lost:.0%} of {lost:.3f} | {record['kept']} | {'yes' if record['refused'] else 'no'} | {others} |"
        )


def _rest(done):
    same = [record for name, record in done.items() if name.startswith("same|")]
    if same:
        refused = sum(bool(record["refused"]) for record in same)
        shown = sum(record["shifted"] for record in same)
        inside = [r["estimate"][0] <= r["accuracy"] <= r["estimate"][1] for r in same if r["estimate"]]
        print(f"\nSame-site splits: {len(same)}, refused {refused}, shift shown {shown}; accuracy estimated for "
              f"{len(inside)}, inside its interval {sum(inside)}")  # fmt: skip
    for name, record in done.items():
        if name.startswith("alarms|"):
            print(
                f"\n{name}: false alarms {record['false alarms']:.3f}, power at 50 images {record['power at 50']:.2f}"
            )
    aligned = defaultdict(list)
    for name, record in done.items():
        if name.startswith("align|"):
            _, backbone, _, loss = name.split("|")
            aligned[backbone, loss].append(record)
    for (backbone, loss), records in aligned.items():
        agreement = _say([r["agreement"] for r in records])
        print(f"\nalignment {loss}, {backbone}: AUROC {_say([r['auto'] for r in records])}, agreement {agreement}")
