import sys
from types import ModuleType

import pytest

from flows.request import Request
from flows.run import run_flow
from flows.seal import sealed
from pipeline.errors import LabelsError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a function in the place of a flow; no server is started, as if one were served elsewhere."""
    monkeypatch.setattr("flows.run.configure_prefect", lambda _home: None)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    request = Request("score", str(tmp_path), str(tmp_path / "run"))

    def call(function):
        module = ModuleType("made_up_flow")
        module.flow = function
        monkeypatch.setitem(sys.modules, "made_up_flow", module)
        return run_flow("made_up_flow", "flow", request)

    return call


def test_the_flow_gets_the_path_of_the_request_and_nothing_else(run, tmp_path):
    assert run(lambda path: {"path": path}) == {"path": str(tmp_path / "run" / "request.json")}


def test_the_cause_comes_out_of_its_seal(run):
    cause = LabelsError("line 3")

    def fail(_path):
        raise cause

    with pytest.raises(LabelsError) as caught:
        run(sealed(fail))
    assert caught.value is cause


def test_an_error_that_followed_from_ctrl_c_is_an_interruption(run):
    def tell_the_server():
        raise ConnectionRefusedError("the server is gone")

    def fail(_path):
        try:
            try:
                raise KeyboardInterrupt
            finally:
                tell_the_server()
        except ConnectionRefusedError as error:
            raise RuntimeError("crashed") from error

    with pytest.raises(KeyboardInterrupt):
        run(fail)


def test_any_other_error_stays_what_it_is(run):
    def fail(_path):
        raise ConnectionRefusedError("the server is gone")

    with pytest.raises(ConnectionRefusedError):
        run(fail)
