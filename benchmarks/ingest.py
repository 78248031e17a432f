"""How fast is ingest beside its peers, on one machine in one run?

    python benchmarks/ingest.py [--slices 300] [--rounds 5] [--files 100000] [--results ingest.jsonl]

Peers, where they are installed: pydicom, dicomsdl, SimpleITK, highdicom, MONAI's readers, nibabel
(`pip install 'scanshift[bench]'`). All tasks of a table are run in turn within each round, so that they share the
machine's moods; a cell is the shortest of its rounds, with a warm page cache. Values are compared before anything is
timed. Each finished cell is appended to the results file, and a run that was stopped goes on from there.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from ct_series import ENCODERS, write_many, write_series

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
Task = Callable[[], object]


def main() -> None:
    """Write the data, run every table, print them."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--slices", type=int, default=300)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--files", type=int, default=100_000)
    asked.add_argument("--results", type=Path, default=Path("ingest.jsonl"))
    asked.add_argument("--rescan", nargs=2, metavar=("FOLDER", "CATALOG"), help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.rescan:
        rescan(*options.rescan)
        return
    print(
        f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"pydicom {pydicom.__version__}, {options.slices} slices of 512 x 512"
    )
    cells = Cells(options.results, options.rounds)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        truth = write_series(folder / "plain", options.slices)
        cells.table("header scan", header_scans(folder / "plain"))
        cells.table("read to float32", reads(folder / "plain", truth))
        for name in (*ENCODERS, "RLE"):
            write_series(folder / name, options.slices, name)
            cells.table(f"read {name}", compressed_reads(folder / name, truth))
        cells.table("read .nii.gz", niftis(folder / "volume.nii.gz", truth))
        del truth
        scale(cells, folder, options.files)
    cells.show()


class Cells:
    """Finished cells: table, task, seconds."""

    def __init__(self, path: Path, rounds: int) -> None:
        self.path, self.rounds = path, rounds
        lines = path.read_text().splitlines() if path.exists() else []
        self.done = {(cell["table"], cell["task"]): cell for cell in map(json.loads, lines)}

    def table(self, table: str, tasks: dict[str, Task]) -> None:
        """Time tasks in turn, in so many rounds."""
        todo = {name: task for name, task in tasks.items() if (table, name) not in self.done}
        best = dict.fromkeys(todo, float("inf"))
        for _ in range(self.rounds):
            for name, task in todo.items():
                start = time.perf_counter()
                task()
                best[name] = min(best[name], time.perf_counter() - start)
        for name, seconds in best.items():
            self.add(table, name, seconds=round(seconds, 4))

    def add(self, table: str, task: str, **values: float) -> None:
        """Keep a cell."""
        cell = {"table": table, "task": task, **values}
        self.done[table, task] = cell
        with self.path.open("a") as file:
            file.write(json.dumps(cell) + "\n")

    def show(self) -> None:
        """Print all cells as a table in Markdown, with ratios to ScanShift's time."""
        print("| table | task | seconds | times ScanShift's |\n|---|---|---|---|")
        for (table, task), cell in self.done.items():
            own = self.done.get((table, "ScanShift"), {}).get("seconds")
            ratio = f"{cell['seconds'] / own:.2f}" if own and "seconds" in cell else ""
            more = ", ".join(f"{key} {value}" for key, value in cell.items() if key not in ("table", "task", "seconds"))
            print(f"| {table} | {task}{f' ({more})' if more else ''} | {cell.get('seconds', '')} | {ratio} |")


def header_scans(folder: Path) -> dict[str, Task]:
    """Every header of a series read, and the values that group and sort it."""
    from pipeline.ingest.scan_folder import scan_sources

    files = sorted(str(path) for path in folder.iterdir())

    def by_pydicom() -> list[object]:
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
        return sorted((ds.SeriesInstanceUID, float(ds.ImagePositionPatient[2])) for ds in headers)

    tasks: dict[str, Task] = {
        "ScanShift": lambda: scan_sources([folder], hashed=False),
        "ScanShift, content hashed": lambda: scan_sources([folder]),
        "pydicom, headers and two values": by_pydicom,
    }
    with contextlib.suppress(ImportError):
        import SimpleITK

        tasks["SimpleITK, series file names"] = lambda: SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    with contextlib.suppress(ImportError):
        import dicomsdl

        def by_dicomsdl() -> list[object]:
            headers = [dicomsdl.open(path) for path in files]
            return sorted((ds.SeriesInstanceUID, float(ds.ImagePositionPatient[2])) for ds in headers)

        tasks["dicomsdl, two values"] = by_dicomsdl
    return tasks


def reads(folder: Path, truth: np.ndarray) -> dict[str, Task]:
    """A folder to a float32 volume in Hounsfield units."""
    tasks = compressed_reads(folder, truth)
    with contextlib.suppress(ImportError):
        import highdicom as hd

        def by_highdicom() -> np.ndarray:
            series = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
            return hd.get_volume_from_series(series, apply_presentation_lut=False, dtype=np.float32).array[::-1]

        tasks["highdicom"] = by_highdicom
    from monai.data import ITKReader, PydicomReader

    tasks["MONAI PydicomReader"] = lambda: monai_read(PydicomReader(), folder)
    if importlib.util.find_spec("itk"):
        tasks["MONAI ITKReader"] = lambda: monai_read(ITKReader(), folder)
    for name in ("highdicom", "MONAI PydicomReader"):
        if name in tasks:
            require_equal(name, tasks[name](), truth)
    return tasks


def monai_read(reader: Any, folder: Path) -> np.ndarray:
    """A volume by one of MONAI's readers, as slices first."""
    voxels, _ = reader.get_data(reader.read(str(folder)))
    voxels = np.asarray(voxels, dtype=np.float32)
    return voxels.transpose(2, 1, 0)


def compressed_reads(folder: Path, truth: np.ndarray) -> dict[str, Task]:
    """A folder of compressed slices to a float32 volume."""
    from pipeline.ingest.codestreams import decoder_for
    from pipeline.ingest.read import read_scan
    from pipeline.ingest.scan_folder import scan_sources
    from pipeline.ingest.syntaxes import DECODERS

    (ref,) = scan_sources([folder])
    for syntax, decoder in DECODERS.items():
        if decoder == "imagecodecs":
            decoder_for(syntax)  # pydicom has none of its own for JPEG Lossless

    def by_pydicom() -> np.ndarray:
        series = sorted((pydicom.dcmread(path) for path in folder.iterdir()), key=place)
        out = np.empty((len(series), *series[0].pixel_array.shape), np.float32)
        for k, ds in enumerate(series):
            np.multiply(ds.pixel_array, np.float32(ds.RescaleSlope), out=out[k])
            out[k] += np.float32(ds.RescaleIntercept)
        return out

    tasks: dict[str, Task] = {
        "ScanShift": lambda: read_scan(ref).voxels.transpose(2, 1, 0),
        "pydicom, read and stack": by_pydicom,
    }
    with contextlib.suppress(ImportError):
        import SimpleITK

        def by_sitk() -> np.ndarray:
            names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
            return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(names)).astype(np.float32)

        tasks["SimpleITK"] = by_sitk
    with contextlib.suppress(ImportError):
        import dicomsdl

        def by_dicomsdl() -> np.ndarray:
            series = [dicomsdl.open(str(path)) for path in folder.iterdir()]
            series.sort(key=place)
            stored = np.empty((series[0].Rows, series[0].Columns), np.uint16)
            out = np.empty((len(series), *stored.shape), np.float32)
            for k, ds in enumerate(series):
                ds.copyFrameData(0, stored)
                np.multiply(stored, np.float32(ds.RescaleSlope), out=out[k])
                out[k] += np.float32(ds.RescaleIntercept)
            return out

        tasks["dicomsdl, same conversion"] = by_dicomsdl
    for name, task in tasks.items():
        require_equal(name, task(), truth)
    return tasks


def place(ds: Any) -> float:
    """Position along the axis of this series."""
    return float(ds.ImagePositionPatient[2])


def niftis(path: Path, truth: np.ndarray) -> dict[str, Task]:
    """A gzipped NIfTI of 16-bit integers to float32; nibabel does not check the CRC, ScanShift does."""
    from pipeline.ingest.read import read_scan
    from pipeline.ingest.scan_folder import scan_sources

    image = nib.Nifti1Image(truth.astype(np.int16).transpose(2, 1, 0), np.diag([0.7, 0.7, 1, 1]))
    nib.save(image, path)
    (ref,) = scan_sources([path])
    tasks: dict[str, Task] = {
        "ScanShift": lambda: read_scan(ref).voxels.transpose(2, 1, 0),
        "nibabel": lambda: nib.load(path).get_fdata(dtype=np.float32).transpose(2, 1, 0),
    }
    with contextlib.suppress(ImportError):
        import SimpleITK

        tasks["SimpleITK"] = lambda: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).astype(np.float32)
    for name, task in tasks.items():
        require_equal(name, task(), truth)
    return tasks


def require_equal(name: str, voxels: object, truth: np.ndarray) -> None:
    """Stop if a reader gives other values: its time would say nothing."""
    if not np.array_equal(np.asarray(voxels), truth):
        sys.exit(f"{name} gives other values")


def scale(cells: Cells, folder: Path, files: int) -> None:
    """First scan and cold re-scan of many unchanged files, each in a process of its own, with its peak memory."""
    for count in (files // 10, files):
        table = f"{count} files, series of 100"
        if (table, "scan again, nothing changed") in cells.done:
            continue
        many = folder / f"many{count}"
        write_many(many, count, 100)
        for task in ("first scan", "scan again, nothing changed"):
            measured = next(rescans(many, folder / f"catalog{count}.db"))
            cells.add(table, task, **measured)


def rescans(many: Path, catalog: Path) -> Iterator[dict[str, float]]:
    """Time and peak memory of a scan in a fresh process."""
    command = [sys.executable, __file__, "--rescan", str(many), str(catalog)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    yield json.loads(done.stdout)


def peak_kib() -> int:
    """Peak memory of this program; getrusage would tell the parent's, whose copy this process began as."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def rescan(folder: str, catalog: str) -> None:
    """The scan itself."""
    from pipeline.ingest.catalog import Catalog
    from pipeline.ingest.scan_folder import scan_sources

    before = peak_kib()
    start = time.perf_counter()
    with contextlib.closing(Catalog(f"sqlite:///{catalog}")) as known:
        refs = scan_sources([Path(folder)], catalog=known)
        known.record(refs)
    peak = peak_kib()
    print(
        json.dumps(
            {
                "seconds": round(time.perf_counter() - start, 2),
                "series": len(refs),
                "added_mib": (peak - before) // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
