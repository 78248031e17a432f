"""Does any damaged file crash, hang or bloat ingest?

    python benchmarks/fuzz_ingest.py [--minutes 30] [--seed 0] [--files ../shared/dicom] [--keep FOLDER]

A mutation loop: each seed picks a conformance file (or, where ../shared is not there, a file of sample_data), damages
it (bits, bytes, lengths, tags, cuts, insertions, pieces of other files), and ingests it as a user would: found,
examined, grouped, read. A finding is anything but voxels or a refusal with a reason: another exception, a dead
process, a case over --seconds, or memory over --mebibytes more than before it. Findings are kept with their seed,
which makes the same bytes again; those that found something stay as tests.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LARGEST = 2**20  # bytes of a file that is mutated
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFF0, 0xFFFFFFFF)


def corpus(folder: Path) -> list[Path]:
    """Files that ingest may read, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and 0 < path.stat().st_size <= LARGEST)


def mutated(files: list[Path], seed: int) -> tuple[bytes, str]:
    """The damaged bytes that a seed stands for, and the ending of the file's name."""
    dice = random.Random(seed)
    path = dice.choice(files)
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        dice.choice(MUTATIONS)(content, dice, files)
    return bytes(content), "".join(path.suffixes[-2:])


def place(content: bytearray, dice: random.Random) -> int:
    """A place in the file; every other time in its first part, where headers are."""
    end = len(content) if dice.random() < 0.5 else min(len(content), 2000)
    return dice.randrange(max(1, end))


def flip(content: bytearray, dice: random.Random, _files: list[Path]) -> None:
    """Turn a bit."""
    if content:
        content[place(content, dice)] ^= 1 << dice.randrange(8)


def overwrite(content: bytearray, dice: random.Random, _files: list[Path]) -> None:
    """Write random bytes."""
    at, count = place(content, dice), dice.choice((1, 2, 4, 16, 200))
    content[at : at + count] = dice.randbytes(count)


def number(content: bytearray, dice: random.Random, _files: list[Path]) -> None:
    """Write a number at the edge of what 2 or 4 bytes hold, as a length or size."""
    at, size = place(content, dice) & ~1, dice.choice((2, 4))
    value = dice.choice(INTERESTING) & (2 ** (8 * size) - 1)
    content[at : at + size] = value.to_bytes(size, dice.choice(("little", "big")))


def cut(content: bytearray, dice: random.Random, _files: list[Path]) -> None:
    """End the file early, or take a piece out."""
    at = place(content, dice)
    del content[at : None if dice.random() < 0.5 else at + dice.choice((1, 2, 8, 100))]


def insert(content: bytearray, dice: random.Random, _files: list[Path]) -> None:
    """Repeat a piece, or insert zeros."""
    at, start, count = place(content, dice), place(content, dice), dice.choice((1, 2, 8, 100, 5000))
    content[at:at] = content[start : start + count] if dice.random() < 0.7 else bytes(count)


def splice(content: bytearray, dice: random.Random, files: list[Path]) -> None:
    """Write a piece of another file."""
    other = dice.choice(files).read_bytes()
    at, start, count = place(content, dice), dice.randrange(len(other)), dice.choice((8, 64, 1000, 20000))
    content[at : at + count] = other[start : start + count]


MUTATIONS = (flip, flip, overwrite, number, number, cut, insert, splice)


def attempt(path: Path) -> str:
    """Ingest one file; the outcome as a word."""
    from pipeline.errors import ScanError
    from pipeline.ingest.read import read_scan
    from pipeline.ingest.scan_folder import scan_sources

    outcome = "nothing"
    for ref in scan_sources([path]):
        outcome = ref.status
        if ref.status == "ok":
            try:
                read_scan(ref)
                outcome = "read"
            except ScanError:
                outcome = "refused"
    return outcome


def work(files: list[Path], seed: int, state: Path, until: float) -> None:
    """Try seeds until the time is up, noting each before it is tried."""
    with tempfile.TemporaryDirectory() as scratch:
        while time.time() < until:
            content, ending = mutated(files, seed)
            path = Path(scratch) / f"case{ending}"
            path.write_bytes(content)
            start = time.time()
            state.write_text(json.dumps({"seed": seed, "start": start}))
            outcome = attempt(path)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            record = {"seed": seed, "outcome": outcome, "seconds": round(time.time() - start, 3), "peak_kib": peak}
            sys.stdout.write(json.dumps(record) + "\n")
            sys.stdout.flush()
            path.unlink()
            seed += 1


def main() -> None:
    """Run workers one after another, and tell what was found."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=30)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--files", type=Path, default=ROOT.parent / "shared" / "dicom")
    asked.add_argument("--seconds", type=float, default=90, help="longest that a case may take")
    asked.add_argument("--mebibytes", type=float, default=3072, help="memory that a case may add")
    asked.add_argument("--keep", type=Path, default=Path("fuzz_findings"))
    asked.add_argument("--work", nargs=2, metavar=("STATE", "UNTIL"), help=argparse.SUPPRESS)
    options = asked.parse_args()
    files = corpus(options.files if options.files.is_dir() else ROOT / "sample_data")
    if options.work:
        work(files, options.seed, Path(options.work[0]), float(options.work[1]))
        return
    Fuzz(files, options).run()


class Fuzz:
    """The loop over worker processes."""

    def __init__(self, files: list[Path], options: argparse.Namespace) -> None:
        self.files, self.options = files, options
        self.counts: dict[str, int] = {}
        self.findings: list[str] = []
        self.slowest = self.peak = self.first_peak = 0.0

    def run(self) -> None:
        """Fuzz until the time is up."""
        until, seed = time.time() + 60 * self.options.minutes, self.options.seed
        with tempfile.TemporaryDirectory() as scratch:
            while time.time() < until:
                seed = self.one_worker(seed, Path(scratch), until)
        total = sum(self.counts.values())
        print(
            f"{total} cases in {self.options.minutes:g} minutes from seed {self.options.seed}, {len(self.files)} files"
        )
        print(
            f"outcomes {self.counts}; slowest {self.slowest:.1f} s; peak {self.peak / 1024:.0f} MiB, "
            f"{self.first_peak / 1024:.0f} MiB after the first case"
        )
        print("\n".join(self.findings) or "no finding")
        sys.exit(bool(self.findings))

    def one_worker(self, seed: int, scratch: Path, until: float) -> int:
        """Run one worker until it dies, hangs or the time is up; the seed to go on with."""
        state, log, errors = scratch / "state", scratch / "log", scratch / "errors"
        state.write_text(json.dumps({"seed": seed, "start": time.time() + 30}))
        command = [sys.executable, __file__, "--seed", str(seed), "--files", str(self.options.files)]
        with log.open("w") as out, errors.open("w") as err:
            process = subprocess.Popen([*command, "--work", str(state), str(until)], stdout=out, stderr=err)
            hung = False
            while process.poll() is None:
                time.sleep(0.2)
                now = json.loads(state.read_text() or "{}")
                hung = bool(now) and time.time() - now["start"] > self.options.seconds
                if hung:
                    process.kill()
                    process.wait()
        for line in log.read_text().splitlines():
            self.note(json.loads(line))
        seed = json.loads(state.read_text())["seed"]
        if hung or process.returncode:
            why = "hang" if hung else f"exit {process.returncode}: {errors.read_text().strip().splitlines()[-1:]}"
            self.find(seed, why)
        return seed + 1

    def note(self, record: dict) -> None:
        """Count one case."""
        self.counts[record["outcome"]] = self.counts.get(record["outcome"], 0) + 1
        self.slowest = max(self.slowest, record["seconds"])
        self.first_peak = self.first_peak or record["peak_kib"]
        if record["peak_kib"] - max(self.peak, self.first_peak) > 1024 * self.options.mebibytes:
            self.find(record["seed"], f"{record['peak_kib'] / 1024:.0f} MiB")
        self.peak = max(self.peak, record["peak_kib"])

    def find(self, seed: int, why: str) -> None:
        """Keep a finding."""
        self.findings.append(f"seed {seed}: {why}")
        self.options.keep.mkdir(parents=True, exist_ok=True)
        content, ending = mutated(self.files, seed)
        (self.options.keep / f"{seed}{ending}").write_bytes(content)
        print(self.findings[-1], file=sys.stderr)


if __name__ == "__main__":
    main()
