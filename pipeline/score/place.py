"""Where a scoring run keeps what: light to import, since a command looks here before anything heavy is loaded."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.scan import SeriesRef
from pipeline.workspace import Workspace

STATE = ".scanshift"
RESULTS = "dicom"
SHARD = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Share:
    """The share of machine `number` of `of`.

    Attributes:
        number: From 1.
        of: How many machines there are.
    """

    number: int
    of: int

    @property
    def name(self) -> str:
        """As it stands in names of files."""
        return f"{self.number}-of-{self.of}"

    def holds(self, ref: SeriesRef) -> bool:
        """Whether a series is this machine's, by the hash of its content; a file of no series goes by its source."""
        identity = ref.content if ref.series_uid and ref.content else ref.source
        return int(hashlib.sha256(identity.encode()).hexdigest()[:15], 16) % self.of == self.number - 1

    def state(self, out: Path) -> Path:
        """Where the machine keeps its lock and its mark, and its state if it has no workspace."""
        return out / STATE / f"shard-{self.name}"

    def table(self, out: Path) -> Path:
        """The machine's rows."""
        return out / f"scores-{self.name}.csv"

    def all(self) -> list["Share"]:
        """Every machine's share."""
        return [Share(number, self.of) for number in range(1, self.of + 1)]


def parse_share(text: str) -> Share:
    """The share that `i/n` names.

    Raises:
        ConfigError: If it is none, or i is more than n.
    """
    found = SHARD.fullmatch(text)
    if not found or int(found[1]) > int(found[2]):
        raise ConfigError(f"--shard {text}: expected i/n with 1 <= i <= n, such as 1/3")
    return Share(int(found[1]), int(found[2]))


def state_folder(out: Path, workspace: Path | None, share: Share | None = None) -> Workspace:
    """Where a run keeps its state: the workspace, or a hidden folder in the output; each machine its own."""
    if workspace is not None:
        return Workspace(workspace)
    return Workspace(out / STATE if share is None else share.state(out))
