"""What does scoring cost beside the forward pass? `scanshift score` against a plain torchvision loop.

    python benchmarks/overhead.py [--series 1000] [--pixels 224] [--pairs 3] [--keep FOLDER]

Writes radiographs as DICOM (the hospital of ../shared where it is there and --pixels is 224, else synthetic ones),
makes a ResNet-18 bundle on the sample data, then runs in turn, in the same minutes on the same machine:

  A  `scanshift score` as a whole process: start-up, reading, preparing, forward pass, writing, Prefect
  B  torchvision's resnet18 in float32 eager mode over the same pixels, already in memory, batches of 16

and prints A, B, the rest A - B and (A - B) / B for each pair, and the time of `scanshift --help`.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from torchvision.models import resnet18

ROOT = Path(__file__).resolve().parents[1]
SCANSHIFT = [sys.executable, "-m", "flows.cli"]
BATCH = 16


def hospital(folder: Path, series: int) -> bool:
    """Real pixels wrapped as DICOM by the hospital maker, where it is there."""
    maker = ROOT.parent / "shared" / "tools" / "make_hospital.py"
    if not maker.exists():
        return False
    run([sys.executable, str(maker), "cxr", str(folder), "--site", "guangzhou", "--limit", str(series)])
    return True


def synthetic(folder: Path, series: int, pixels: int) -> None:
    """Noise radiographs of 12 bits, uncompressed."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for n in range(series):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", f"2.25.{10**20 + n}"
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"2.25.{10**21 + n}", f"2.25.{10**22 + n}"
        ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "CR", "MONOCHROME2", 1
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.Rows = ds.Columns = pixels
        ds.PatientID, ds.WindowCenter, ds.WindowWidth = f"P{n}", 2048, 4096
        ds.PixelData = rng.integers(0, 4096, (pixels, pixels), np.uint16).tobytes()
        ds.save_as(folder / f"{n:05d}.dcm", enforce_file_format=True)


def run(command: list[str]) -> None:
    """Run a command of this checkout; its output is shown only if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


def timed(command: list[str]) -> float:
    """Wall seconds of a command."""
    start = time.perf_counter()
    run(command)
    return time.perf_counter() - start


def forward_loop(series: int) -> float:
    """Seconds of torchvision's resnet18, float32 eager, over prepared pixels in memory."""
    network = resnet18(weights=None).eval()
    pixels = torch.rand(series, 3, 224, 224)
    with torch.inference_mode():
        network(pixels[:BATCH])
        start = time.perf_counter()
        for n in range(0, series, BATCH):
            network(pixels[n : n + BATCH]).softmax(dim=1)
        return time.perf_counter() - start


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="work here and leave the files")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="scanshift-overhead-"))
    scans = folder / "scans"
    real = options.pixels == 224 and hospital(scans, options.series)
    if not real:
        synthetic(scans, options.series, options.pixels)
    bundle = folder / "bundle"
    labels = ROOT / "sample_data" / "radiographs" / "labels.csv"
    settings = ["backbone=resnet18", "weights=none", "strategy=linear_probe", "classes=[normal,opacity]"]
    chosen = [part for setting in settings for part in ("--set", setting)]
    run([*SCANSHIFT, "adapt", str(labels), "-w", str(folder / "ws"), "--bundle", str(bundle), *chosen])

    print(
        f"{options.series} radiographs of {options.pixels} px, {'real pixels' if real else 'synthetic'}; "
        f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    )
    rows = []
    for n in range(options.pairs):
        out = folder / f"scores{n}"
        whole = timed([*SCANSHIFT, "score", str(scans), "--bundle", str(bundle), "-o", str(out), "--device", "cpu"])
        forward = forward_loop(options.series)
        rows.append((whole, forward))
        print(
            f"pair {n + 1}: A {whole:6.1f} s   B {forward:6.1f} s   A - B {whole - forward:6.1f} s   "
            f"(A - B) / B {(whole - forward) / forward:5.2f}",
            flush=True,
        )
    ratios = [(whole - forward) / forward for whole, forward in rows]
    second = timed([*SCANSHIFT, "score", str(scans), "--bundle", str(bundle), "-o", str(out), "--device", "cpu"])
    helped = median(timed([*SCANSHIFT, "--help"]) for _ in range(5))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"median (A - B) / B: {median(ratios):.2f} (below 1: the rest costs less than the forward pass)")
    print(f"the same again with nothing left to score: {second:.1f} s; largest child process {peak:.0f} MiB")
    print(f"scanshift --help: {helped:.2f} s")
    print(json.dumps({"pairs": rows, "ratios": ratios, "help_s": helped, "again_s": second}))
    if not options.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
