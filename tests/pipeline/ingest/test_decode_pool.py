"""A decoder that aborts, hangs or balloons costs its own file, and the next file finds a sound worker."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import Reason, ScanError
from pipeline.ingest.decode_pool import DecodePool, decode_pool

FAULTY = Path(__file__).with_name("workers") / "faulty.py"
CONTENT = bytes(range(100))


@pytest.fixture
def pool():
    made = DecodePool(1, program=[str(FAULTY)], seconds=60)  # the worker's own start counts, on busy cores too
    yield made
    made.close()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        yield file.fileno()


def code_of(pool, source, **job):
    with pytest.raises(ScanError) as caught:
        pool.decode(source, job, 100)
    return caught.value.code


@pytest.mark.parametrize("kind", ["abort", "segfault", "hang"])
def test_worker_that_dies_or_hangs_is_one_refusal_and_is_replaced(pool, source, kind):
    pool._seconds = 2 if kind == "hang" else 60
    assert code_of(pool, source, kind=kind) == Reason.DECODE_KILLED
    pool._seconds = 60
    assert bytes(pool.decode(source, {"kind": "echo"}, 100)) == CONTENT


def test_job_that_asks_for_too_much_memory_is_over_budget(pool, source):
    assert code_of(pool, source, kind="balloon", bytes=2**35) == Reason.OVER_BUDGET
    assert bytes(pool.decode(source, {"kind": "echo"}, 100)) == CONTENT


def test_worker_harmed_by_an_earlier_job_does_not_cost_the_next_one(pool, source):
    for _ in range(3):  # each second job in one worker aborts it
        assert len(pool.decode(source, {"kind": "spoilt"}, 100)) == 3


def test_worker_persists_between_jobs(pool, source):
    pool.decode(source, {"kind": "spoilt"}, 100)
    (worker,) = pool._idle
    pool.decode(source, {"kind": "echo"}, 100)
    assert pool._idle == [worker]
    assert worker.jobs == 2


def test_what_a_decoder_prints_goes_nowhere(pool, source, capfd):
    pool.decode(source, {"kind": "chatty"}, 100)
    assert capfd.readouterr() == ("", "")


def test_pixels_of_a_type_that_no_decoder_gives_are_not_taken(pool, source):
    assert code_of(pool, source, kind="lies") == Reason.DECODE_KILLED


def test_worker_that_cannot_start_is_not_blamed_on_the_file(tmp_path, source):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    with pytest.raises(ScanError, match="no process to decode in could be started") as caught:
        DecodePool(1, program=[str(broken)]).decode(source, {"kind": "echo"}, 100)
    assert caught.value.code == Reason.DECODE_KILLED


def test_unknown_fault_is_a_refusal_without_its_words(pool, source):
    with pytest.raises(ScanError, match="KeyError") as caught:
        pool.decode(source, {"kind": "nothing of this name"}, 100)
    assert caught.value.code == Reason.DECODE_FAILED
    assert "nothing of this name" not in str(caught.value)


def test_pixels_are_read_only_and_outlive_the_pool(source):
    pool = DecodePool(1, program=[str(FAULTY)])
    pixels = pool.decode(source, {"kind": "echo"}, 100)
    pool.close()
    assert bytes(pixels) == CONTENT
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 1


def test_many_threads_share_the_workers(source):
    pool = DecodePool(2, program=[str(FAULTY)])
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(bytes(pool.decode(source, {"kind": "echo"}, 100))))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 12
    assert len(pool._idle) <= 2
    pool.close()


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, signal
        from pipeline.ingest.decode_pool import DecodePool
        pool = DecodePool(1, program=[{str(FAULTY)!r}])
        with open(__file__, "rb") as file:
            pool.decode(file.fileno(), {{"kind": "echo"}}, 100)
        print(pool._idle[0]._process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """)
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)}
    )
    worker = Path(f"/proc/{int(done.stdout)}")
    until = time.monotonic() + 20
    while worker.exists() and "Z" not in worker.joinpath("stat").read_text().split()[2]:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(("kind", "most"), [("RLIMIT_AS", 3 * 10**9), ("RLIMIT_FSIZE", 10**8)])
def test_limits_that_scanshift_was_started_with_cost_no_file(tmp_path, kind, most):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import resource
        resource.setrlimit(resource.{kind}, ({most}, {most}))
        from pipeline.ingest.decode_pool import DecodePool
        pool = DecodePool(1, program=[{str(FAULTY)!r}])
        with open(__file__, "rb") as file:
            print(len(pool.decode(file.fileno(), {{"kind": "echo"}}, 2**30)))
        pool.close()
        """)
    )
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("100\n", "")


def test_worker_finds_libraries_that_only_the_python_path_names(tmp_path, monkeypatch, source):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "brought_along.py").write_text("")
    program = tmp_path / "needy.py"
    program.write_text(f"import brought_along, runpy\nrunpy.run_path({str(FAULTY)!r}, run_name='__main__')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(tmp_path / "library")]))
    pool = DecodePool(1, program=[str(program)])
    assert bytes(pool.decode(source, {"kind": "echo"}, 100)) == CONTENT
    pool.close()


def test_worker_finds_nothing_in_the_current_folder(tmp_path, monkeypatch, source):
    (tmp_path / "numpy.py").write_text("raise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "."]))
    pool = DecodePool(1, program=[str(FAULTY)])
    assert bytes(pool.decode(source, {"kind": "echo"}, 100)) == CONTENT
    pool.close()


def test_a_process_has_one_pool():
    assert decode_pool() is decode_pool()
    assert np.array_equal(decode_pool().size, min(8, len(os.sched_getaffinity(0))))
