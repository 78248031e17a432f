"""`scanshift doctor --offline`: a small run from files to scores, watched for addresses beyond this machine."""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.doctor.finding import Level, Told, check, some
from pipeline.doctor.silence import Run, choose_watch
from pipeline.doctor.tiny_bundle import write_tiny_bundle
from pipeline.doctor.tiny_files import write_radiograph

SCANS = 3
SECONDS = 600
ROOT = Path(__file__).resolve().parents[1]
OWN_CHOICE = ("SCANSHIFT_CATALOG", "PREFECT_API_URL")  # servers that the user names; a run reaches them as it should
# As `scanshift`, with OpenVINO imported as its engine imports it: so few scans would be scored without.
RUN = """
import importlib.util, sys
from pipeline.score.engines.openvino_engines import openvino
if importlib.util.find_spec("openvino"):
    openvino()
from flows.cli import main
sys.exit(main(sys.argv[1:]))
"""
Choose = Callable[[dict[str, str]], tuple[Run, str] | None]


@check("offline")
def check_offline(environment: Mapping[str, str], choose: Choose = choose_watch) -> Told:
    """Score radiographs made on the fly, in a process that is watched with its children.

    Args:
        environment: As the user has it, before any setting of ours: that a run sets these itself is to be proven too.
        choose: Gives the way of watching.
    """
    environment = {name: value for name, value in environment.items() if name not in OWN_CHOICE}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH", "")]))
    watch = choose(environment)
    if watch is None:
        return (
            Level.BROKEN,
            "a run cannot be watched: neither strace nor the audit hook saw a call made to try them",
        )
    run, way = watch
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        scans, bundle, out = Path(folder) / "scans", Path(folder) / "bundle", Path(folder) / "out"
        scans.mkdir()
        for n in range(SCANS):
            write_radiograph(scans / f"{n}.dcm", seed=n)
        write_tiny_bundle(bundle)
        command = [sys.executable, "-c", RUN, "score", str(scans), "--bundle", str(bundle), "-o", str(out)]
        done = run(command, environment, SECONDS)
        table = out / "scores.csv"
        scored = table.read_text(encoding="utf-8").count(",scored,") if table.is_file() else 0
    beyond = [str(attempt) for attempt in done.attempts if attempt.beyond]
    if beyond:
        return Level.BROKEN, f"a run tried {some(beyond)}; watched by {way}", tuple(beyond)
    if done.code or scored != SCANS:
        last = (done.error.strip().splitlines() or ["nothing was told"])[-1]
        return Level.BROKEN, f"the run to be watched failed (exit {done.code}, {scored} of {SCANS} scored): {last}"
    if not done.attempts:
        return Level.BROKEN, f"not even the run's own loopback connections were seen by {way}"
    return Level.OK, f"{SCANS} scans scored, {len(done.attempts)} addresses, all of loopback; watched by {way}"
