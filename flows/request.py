"""What a flow is asked to do, as a file in the workspace: Prefect's database sees that file's path, no scan's."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.workspace import Workspace, whole_file


@dataclass(frozen=True, slots=True)
class Request:
    """Arguments of a verb.

    Attributes:
        verb: `ingest`, `adapt`, `validate` or `score`.
        workspace: Folder of catalogue, caches and runs.
        run: Folder of this run, inside the workspace.
        sources: Folders or files to read; a labels.csv for adapt and validate.
        bundle: Folder of the bundle, if the verb has one.
        out: Where results go, if the verb has such a folder.
        options: Further settings of the verb.
    """

    verb: str
    workspace: str
    run: str
    sources: tuple[str, ...] = ()
    bundle: str = ""
    out: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def space(self) -> Workspace:
        """The workspace."""
        return Workspace(Path(self.workspace), self.options.get("catalog", ""))

    def save(self) -> str:
        """Write `request.json` (mode 0600) into the run's folder, and return its path."""
        path = Path(self.run) / "request.json"
        with whole_file(path, private=True) as file:
            json.dump(asdict(self), file, indent=2)
        return str(path)


def read_request(path: str) -> Request:
    """Read what `save` wrote."""
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    return Request(**{**record, "sources": tuple(record["sources"])})
