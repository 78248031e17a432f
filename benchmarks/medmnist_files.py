"""Write a MedMNIST npz as image files with a labels.csv, so that it enters by the front door.

Usage: python benchmarks/medmnist_files.py ../shared/data/pneumoniamnist_rebuilt.npz OUT --classes normal,pneumonia
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    """Write `<split>/<n>.png` and labels.csv; there are no patients in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("npz", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--classes", required=True, help="names in the order of the label numbers")
    options = parser.parse_args()
    names = options.classes.split(",")
    rows = []
    with np.load(options.npz, allow_pickle=False) as data:
        for split in ("train", "val", "test"):
            (options.out / split).mkdir(parents=True, exist_ok=True)
            for n, (image, label) in enumerate(
                zip(data[f"{split}_images"], data[f"{split}_labels"][:, 0], strict=True)
            ):
                name = f"{split}/{n:05d}.png"
                Image.fromarray(image).save(options.out / name)
                rows.append([name, names[int(label)], "medmnist", split])
    with (options.out / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "site", "split"])
        writer.writerows(rows)
    print(f"{len(rows)} images in {options.out}")


if __name__ == "__main__":
    main()
