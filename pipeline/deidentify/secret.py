"""The key file, and everything that is derived from it: UIDs, patient pseudonyms, date shifts."""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import UID

from pipeline.errors import KeyFileError

KEY_BYTES = 32
MOST_DAYS = 3650
OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Secret:
    """The key of a project; whoever holds it can repeat the pseudonyms, so it stays at the hospital.

    Attributes:
        key: 32 bytes.
    """

    key: bytes

    def uid(self, uid: str) -> str:
        """The stand-in of a UID, the same in every run; what DICOM itself registered (PS3.6 Annex A) is kept."""
        plain = uid.strip(" \0")
        if UID(plain).type:  # has an entry in the registry
            return plain
        return f"2.25.{int.from_bytes(self._digest('uid', plain)[:16], 'big')}"

    def patient(self, identity: str) -> str:
        """The pseudonym of a patient: P and 16 hex digits."""
        return f"P{self._digest('patient', identity)[:8].hex().upper()}"

    def folder(self, uid: str) -> str:
        """The name of a series' folder: 12 hex digits."""
        return self._digest("series", uid)[:6].hex()

    def code(self, scheme: str, value: str) -> str:
        """The stand-in of a local code: 12 hex digits, within the 16 characters of SH."""
        return self._digest("code", f"{scheme}\0{value}")[:6].hex().upper()

    def days(self, identity: str) -> int:
        """How many days all dates of a patient are set back: 1 to 3650."""
        return 1 + int.from_bytes(self._digest("dates", identity)[:8], "big") % MOST_DAYS

    @property
    def check(self) -> str:
        """What tells whether two runs had one key, without telling the key."""
        return self._digest("check", "")[:8].hex()

    def _digest(self, use: str, text: str) -> bytes:
        return hmac.new(self.key, f"{use}:{text}".encode(errors="surrogateescape"), hashlib.sha256).digest()


def load_secret(path: Path) -> tuple[Secret, list[str]]:
    """Read a key file, or make it (mode 0600) where there is none.

    Args:
        path: 64 hex digits, which are 32 random bytes; blanks around them do not matter.

    Returns:
        The secret, and what the user should know about the file.

    Raises:
        KeyFileError: If it cannot be read or made, or holds something else.
    """
    try:
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read(path)
        with os.fdopen(made, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(KEY_BYTES)}\n")
    except OSError as error:
        raise KeyFileError(f"{path}: key file cannot be used ({error.strerror})") from error
    return _read(path)[0], [f"key: {path} was made; keep it secret, and keep it: other runs need it to agree"]


def _read(path: Path) -> tuple[Secret, list[str]]:
    with path.open("rb") as file:
        text = file.read(1024).decode("ascii", "replace").strip()
        others = os.fstat(file.fileno()).st_mode & OTHERS
    if not re.fullmatch(rf"[0-9a-fA-F]{{{2 * KEY_BYTES}}}", text):
        raise KeyFileError(f"{path}: not a key file; {2 * KEY_BYTES} hex digits would be right, and nothing else")
    told = [f"key: {path} can be read by other users; chmod 600 would be right"] if others else []
    return Secret(bytes.fromhex(text)), told
