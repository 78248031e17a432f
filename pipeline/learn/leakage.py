"""Who was in training, as keyed hashes inside the bundle: enough to warn, not enough to tell who."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.bundle import Bundle, open_bundle
from models.errors import BundleError
from pipeline.prepare.cohort import Case

FILE = "configs/training_set.json"


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Keyed hashes of the patients and series that a bundle has seen in training or validation.

    Attributes:
        salt: Hex key of the hashes, made for this bundle.
        patients: HMAC-SHA256 of patient identities, 32 hex digits each.
        series: The same of the series' content hashes.
        parents: Those of the bundle whose network was the start, under salts of their own.
    """

    salt: str
    patients: frozenset[str]
    series: frozenset[str]
    parents: "tuple[TrainingSet, ...]" = ()

    def saw(self, case: Case) -> bool:
        """Whether the case's patient, or the same file content, was in training."""
        return (case.known_patient and self.saw_patient(case.patient)) or self.saw_series(case.ref.key)

    def saw_patient(self, identity: str) -> bool:
        """Whether a patient of this identity was in training."""
        own = _keyed(self.salt, identity) in self.patients
        return own or any(parent.saw_patient(identity) for parent in self.parents)

    def saw_series(self, key: str) -> bool:
        """Whether the file content that `SeriesRef.key` names was in training."""
        own = _keyed(self.salt, key) in self.series
        return own or any(parent.saw_series(key) for parent in self.parents)

    def to_json(self) -> str:
        """The text that goes into the bundle."""
        return json.dumps(self._record(), indent=1) + "\n"

    def _record(self) -> dict[str, Any]:
        record = {"salt": self.salt, "patients": sorted(self.patients), "series": sorted(self.series)}
        return record | ({"parents": [parent._record() for parent in self.parents]} if self.parents else {})


def training_set(cases: Iterable[Case], parents: "tuple[TrainingSet, ...]" = ()) -> TrainingSet:
    """Hash the patients and series of some cases under a fresh salt."""
    salt = secrets.token_hex(16)
    listed = list(cases)
    return TrainingSet(
        salt,
        frozenset(_keyed(salt, case.patient) for case in listed if case.known_patient),
        frozenset(_keyed(salt, case.ref.key) for case in listed),
        parents,
    )


def training_sets_of(weights: str) -> "tuple[TrainingSet, ...]":
    """What the bundle was trained on whose folder `weights` of the config names; nothing where it names none.

    Raises:
        BundleError: If the bundle does not say, or what it says makes no sense.
    """
    return (read_training_set(open_bundle(Path(weights))),) if Path(weights).is_dir() else ()


def read_training_set(bundle: Bundle) -> TrainingSet:
    """Who was in training of a bundle.

    Raises:
        BundleError: If it does not say, or what it says makes no sense.
    """
    try:
        return parse_training_set(bundle.text(FILE))
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{bundle.folder}: {FILE} is not readable") from error


def parse_training_set(text: str) -> TrainingSet:
    """Read what `to_json` wrote."""
    return _read(json.loads(text))


def _read(record: dict[str, Any]) -> TrainingSet:
    parents = tuple(_read(parent) for parent in record.get("parents", ()))
    return TrainingSet(record["salt"], frozenset(record["patients"]), frozenset(record["series"]), parents)


def _keyed(salt: str, identity: str) -> str:
    return hmac.new(bytes.fromhex(salt), identity.encode(), hashlib.sha256).hexdigest()[:32]
