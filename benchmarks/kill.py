"""Does scoring lose anything, or do anything twice, when it is killed (-9) at random moments?

    python benchmarks/kill.py out [--kills 100] [--series 500] [--seed 1]

Radiographs of 64 by 64 pixels and an untrained squeezenet1_1. An undisturbed run gives the bytes that are wanted and
the time T that it takes. Then, round after round, each with a fresh output: a run is killed after a moment drawn from
0..T and started again, until one comes to its end; rounds go on until there were enough kills. After each kill a
scores.csv that is there must be whole, and at the end of each round it must be the wanted one, byte for byte.

Runs are forked from a process that has imported everything, so that a start costs no import. Hooks in the child, not
in the product, note each stage, each chunk that the network begins and each series that is read. Prints kills by the
stage that they hit, chunks begun more often than once, and series read more often than once, per kill.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a fork must not inherit half a thread pool
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
STAGES = ("plan_scores", "write_plan", "score_shard", "write_scores")


class Trace:
    """A file of what runs did, which outlives them."""

    def __init__(self, path):
        self.path = path
        path.unlink(missing_ok=True)

    def note(self, kind, name):
        """Add a line."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{kind} {name}\n".encode())
        os.close(descriptor)

    def lines(self, kind):
        """Names noted of a kind."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{kind} ")]


def watched(trace):
    """Let this process note what it does; only ever called in a child."""
    from pipeline.score import folder, scorer

    def noted(module, name, kind, tell):
        function = getattr(module, name)

        def call(*arguments, **options):
            trace.note(kind, tell(*arguments))
            return function(*arguments, **options)

        setattr(module, name, call)

    for stage in STAGES:
        noted(folder, stage, "stage", lambda *_, stage=stage: stage)
    noted(scorer, "_scored", "chunk", lambda _scorer, read: "|".join(read)[:200])
    noted(scorer, "ready_scan", "read", lambda ref, _record: ref.key)


def start(scans, bundle, out, trace):
    """Score in a child; its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        from pipeline.score.folder import score_folder

        trace.note("stage", "start")
        watched(trace)
        score_folder(scans, bundle, out, device="cpu")
        status = 0
    except Exception:  # noqa: BLE001  a forked child must tell and end here, never go on as its parent
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child, seconds=None):
    """Wait for a child, and kill it after so many seconds; whether it was killed."""
    end = time.monotonic() + seconds if seconds is not None else None
    while end is None or time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if status:
                sys.exit(f"a run failed: {status}")
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit("a run failed")
    return os.WIFSIGNALED(status)


def one_round(scans, bundle, out, draw, wanted, most, found):
    """Kill and start again until a run comes to its end; the number of kills."""
    shutil.rmtree(out, ignore_errors=True)
    trace, kills = Trace(out.with_name("trace.txt")), 0
    table = out / "scores.csv"
    while kills < most:
        if not wait(start(scans, bundle, out, trace), draw.uniform(0, found["seconds"])):
            break
        kills += 1
        found["hit"][trace.lines("stage")[-1] if trace.lines("stage") else "start"] += 1
        found["torn"] += table.exists() and table.read_bytes() != wanted
    else:
        wait(start(scans, bundle, out, trace))
    found["different"] += table.read_bytes() != wanted
    found["left"] += len([path for path in out.iterdir() if path.name not in {"scores.csv", ".scanshift"}])
    chunks, read = trace.lines("chunk"), trace.lines("read")
    found["chunks_again"] += len(chunks) - len(set(chunks))
    found["read_again"] += len(read) - len(set(read))
    lines = [
        json.loads(line) for line in (out / ".scanshift" / "ledger.jsonl").read_bytes().split(b"\n") if whole(line)
    ]
    found["lines_again"] += len(lines) - len({line["content"] for line in lines})
    return kills


def whole(line):
    """Whether a line of the ledger is one."""
    try:
        return bool(json.loads(line))
    except ValueError:
        return False


def main():
    from benchmarks.tiny_site import make_bundle, make_scans
    from pipeline.score.scorer import CHUNK_SLICES

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--series", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    work = options.out.resolve()
    setting_up = os.fork()  # what computes must not run in the parent, whose threads no child would have
    if not setting_up:
        make_bundle(work / "bundle")
        make_scans(work / f"scans-{options.series}", options.series)
        os._exit(0)
    wait(setting_up)
    bundle, scans = work / "bundle", work / f"scans-{options.series}"
    undisturbed = work / "undisturbed"
    seconds = []
    for _ in range(2):  # the first one warms the disk's cache
        shutil.rmtree(undisturbed, ignore_errors=True)
        began = time.monotonic()
        wait(start(scans, bundle, undisturbed, Trace(work / "trace.txt")))
        seconds.append(time.monotonic() - began)
    wanted = (undisturbed / "scores.csv").read_bytes()
    found = {"seconds": seconds[-1], "hit": Counter()}
    found |= dict.fromkeys(("torn", "different", "left", "chunks_again", "read_again", "lines_again"), 0)
    draw, kills, rounds, began = random.Random(options.seed), 0, 0, time.monotonic()
    while kills < options.kills:
        kills += one_round(scans, bundle, work / "killed", draw, wanted, options.kills - kills, found)
        rounds += 1
    row = {"kills": kills, "rounds": rounds, "series": options.series, "load": os.getloadavg()[0], **found}
    with (work / "kill.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    hit = ", ".join(f"{stage} {count}" for stage, count in found["hit"].most_common())
    print(f"{kills} kills in {rounds} rounds of {options.series} series, {time.monotonic() - began:.0f} s; hit: {hit}")
    print(f"final bytes different: {found['different']} of {rounds}; torn tables: {found['torn']}; ", end="")
    print(f"files left over: {found['left']}; series in the ledger twice: {found['lines_again']}")
    print(f"chunks of {CHUNK_SLICES} begun again: {found['chunks_again'] / kills:.2f} a kill; ", end="")
    print(f"series read again: {found['read_again'] / kills:.1f} a kill; undisturbed {found['seconds']:.1f} s")
    sys.exit(bool(found["different"] or found["torn"] or found["left"]))


if __name__ == "__main__":
    main()
