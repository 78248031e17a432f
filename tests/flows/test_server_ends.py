"""The embedded server does not outlive its run, not even after kill -9."""

import subprocess
import sys
import time


def _alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def test_a_process_ends_with_the_one_that_was_killed():
    code = (
        "import subprocess, sys, time\n"
        "from flows.run import end_with_this_process\n"
        "other = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "keeper = end_with_this_process(other.pid)\n"
        "print(other.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _alive(pid)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _alive(pid)
