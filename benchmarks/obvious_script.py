"""The script that a user would write to score a folder: pydicom, torchvision, a DataLoader. A peer of score.py.

    python benchmarks/obvious_script.py FOLDER BUNDLE OUT.csv [--loader torch|monai]

Eager float32 with two loading workers, batches of 32, inference mode; the network's weights are the bundle's, its
preparation is written here anew: window of the header, inversion of MONOCHROME1, 224 pixels with antialiasing,
ImageNet's normalisation. `--loader monai` lets MONAI read, scale and batch.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import pydicom
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

BATCH, WORKERS = 32, 2


class Radiographs(Dataset):
    """DICOM files as (1, S, S) in [0, 1]."""

    def __init__(self, files, size):
        self.files, self.size = files, size

    def __len__(self):
        return len(self.files)

    def __getitem__(self, n):
        return read_image(self.files[n], self.size)


def read_image(path, size):
    """A DICOM file's series and its picture (1, S, S) in [0, 1]."""
    ds = pydicom.dcmread(path)
    image = ds.pixel_array.astype(np.float32) * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))
    if "WindowCenter" in ds:
        centre, width = np.ravel(ds.WindowCenter)[0], np.ravel(ds.WindowWidth)[0]
        low, high = float(centre) - float(width) / 2, float(centre) + float(width) / 2
    else:
        low, high = np.percentile(image, [0.5, 99.5])
    image = np.clip((image - low) / (high - low), 0, 1)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        image = 1 - image
    picture = torch.from_numpy(image)[None, None]
    if picture.shape[-2:] != (size, size):
        picture = functional.interpolate(picture, (size, size), mode="bilinear", antialias=True)
    return str(ds.SeriesInstanceUID), picture[0]


def monai_loader(files, size):
    """The same by MONAI's transforms and DataLoader; the window is the image's own range."""
    from monai.data import DataLoader as MonaiLoader
    from monai.data import Dataset as MonaiDataset
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Resized, ScaleIntensityd

    steps = Compose(
        [
            LoadImaged("image", reader="PydicomReader", image_only=True),
            EnsureChannelFirstd("image"),
            ScaleIntensityd("image"),
            Resized("image", (size, size, 1), mode="trilinear"),
        ]
    )
    data = [{"image": str(file), "uid": file.stem} for file in files]
    return MonaiLoader(
        MonaiDataset(data, lambda row: (row["uid"], steps(row)["image"][..., 0])),
        batch_size=BATCH,
        num_workers=WORKERS,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--loader", choices=("torch", "monai"), default="torch")
    options = parser.parse_args()
    from models.bundle import open_bundle
    from pipeline.learn.objective import anomaly_score, probabilities
    from pipeline.model_record import load_classifier, read_record

    bundle = open_bundle(options.bundle)
    record = read_record(bundle)
    network = load_classifier(bundle, record).eval()
    size = record.preparation.image_size
    files = sorted(options.folder.rglob("*.dcm"))
    if options.loader == "monai":
        loader = monai_loader(files, size)
    else:
        loader = DataLoader(Radiographs(files, size), batch_size=BATCH, num_workers=WORKERS)
    with options.out.open("w", newline="") as file, torch.inference_mode():
        writer = csv.writer(file)
        writer.writerow(["series_uid", "anomaly_score", "decision"])
        for uids, images in loader:
            logits = network(torch.as_tensor(images)[:, None], torch.ones(len(uids), 1, dtype=torch.bool))
            score = anomaly_score(probabilities(logits.double(), record.task, record.temperature, record.bias))
            for uid, value in zip(uids, score.tolist(), strict=True):
                writer.writerow([uid, f"{value:.6f}", "anomaly" if value >= record.anomaly_threshold else "normal"])


if __name__ == "__main__":
    main()
