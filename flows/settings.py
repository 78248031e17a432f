"""The settings under which ScanShift runs Prefect: silent towards the outside, nothing in the user's home.

Must be called before `prefect` is imported; that is why this module does not import it.
"""

import os
from pathlib import Path

SILENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",  # tracebacks name files, and file names can name patients
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_ROOT_LEVEL": "CRITICAL",  # other libraries' warnings, and Prefect's own at exit
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}


def configure_prefect(home: Path) -> None:
    """Set the environment for Prefect, as far as the user has not set it.

    Args:
        home: Folder of Prefect's database, inside the workspace.
    """
    home.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(home.absolute())
    os.environ.setdefault("MPLCONFIGDIR", str(home.absolute().parent / "cache" / "matplotlib"))  # not in the home
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
