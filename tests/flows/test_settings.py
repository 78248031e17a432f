import subprocess
import sys

from flows import settings


def test_prefect_lives_in_the_workspace_and_is_silent(tmp_path, monkeypatch):
    environment = {"PREFECT_HOME": "/home/someone/.prefect"}
    monkeypatch.setattr(settings.os, "environ", environment)
    home = tmp_path / "workspace" / "prefect"
    settings.configure_prefect(home)
    assert home.is_dir()
    assert environment["PREFECT_HOME"] == str(home)
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["PREFECT_LOGGING_TO_API_ENABLED"] == "false"
    assert environment["PREFECT_RESULTS_PERSIST_BY_DEFAULT"] == "false"


def test_a_relative_home_becomes_absolute(tmp_path, monkeypatch):
    environment = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings.os, "environ", environment)
    settings.configure_prefect(settings.Path("ws/prefect"))
    assert environment["PREFECT_HOME"] == str(tmp_path / "ws" / "prefect")


def test_what_the_user_has_set_stands(tmp_path, monkeypatch):
    environment = {"PREFECT_LOGGING_LEVEL": "DEBUG"}
    monkeypatch.setattr(settings.os, "environ", environment)
    settings.configure_prefect(tmp_path)
    assert environment["PREFECT_LOGGING_LEVEL"] == "DEBUG"


def test_settings_do_not_import_prefect():
    code = "import sys, flows.settings, flows.run, flows.commands; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
