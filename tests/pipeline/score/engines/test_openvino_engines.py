import importlib.util
import os
import subprocess
import sys

import pytest

PROGRAM = """
import socket
def refused(*_): raise AssertionError("a connection was tried")
socket.socket.connect = refused
socket.getaddrinfo = refused
from pipeline.score.engines.openvino_engines import openvino
import sys
print(openvino().__name__, sys.modules["openvino_telemetry"])
"""


@pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="openvino is not installed")
def test_importing_it_tells_nobody_and_leaves_the_home_alone(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.split() == ["openvino", "None"]
    assert not list(home.iterdir())
