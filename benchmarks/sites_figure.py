"""A picture of what validations found: AUROC of each class at each site, with intervals.

    python benchmarks/sites_figure.py OUT.png NAME=metrics.json [NAME=metrics.json ...]

Only numbers are drawn; sites where a class has both sides of its own, and the whole.
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def rows(metrics):
    """Site, class and AUROC for each that was measured on rows of its own."""
    scopes = {"all": metrics} | metrics["groups"].get("site", {})
    for site, scope in scopes.items():
        for name, record in scope["classes"].items():
            if record["auroc"]["low"] is not None and "against" not in record:
                yield site, name, record["auroc"], record["support"]


def main():
    """Draw the panels side by side."""
    out, *given = sys.argv[1:]
    panels = [(name, json.loads(Path(path).read_text())) for name, _, path in (one.partition("=") for one in given)]
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), sharex=True, layout="constrained")
    for axis, (title, metrics) in zip(axes if len(panels) > 1 else [axes], panels, strict=True):
        found = list(rows(metrics))
        classes = list(dict.fromkeys(name for _, name, _, _ in found))
        labels = []
        for place, (site, name, auroc, support) in enumerate(reversed(found)):
            colour = COLOURS[classes.index(name) % len(COLOURS)]
            axis.plot([auroc["low"], auroc["high"]], [place, place], color=colour, linewidth=3, alpha=0.5)
            axis.plot(auroc["value"], place, "o", color=colour)
            labels.append(f"{site}: {name} ({support})")
        axis.set_yticks(range(len(labels)), labels, fontsize=8)
        axis.axvline(0.5, color="grey", linewidth=0.8, linestyle="--")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("AUROC, 95 % interval", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
