"""The round trip with a real Orthanc, in a network namespace of its own: store, query, pull, score."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "orthanc"


def namespace():
    """The command that opens a private network namespace; skips the test where there is none."""
    if shutil.which("Orthanc") is None:
        pytest.skip("Orthanc is not installed")
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed, without which Orthanc would listen on every address")
    command = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private network namespace may be opened here")
    return command


@pytest.mark.slow
def test_round_trip_with_orthanc():
    inner = [sys.executable, "-m", "pytest", str(FOLDER / "inside.py"), "-q", "-p", "no:cacheprovider"]
    command = [*namespace(), sys.executable, str(FOLDER / "launch.py"), *inner]
    done = subprocess.run(command, cwd=FOLDER.parents[1], capture_output=True, text=True, timeout=550, check=False)
    sys.stdout.write(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
