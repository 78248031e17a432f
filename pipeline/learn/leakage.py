"""Who was in training, as keyed hashes inside the bundle: enough to warn, not enough to tell who."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.prepare.cohort import Case

FILE = "configs/training_set.json"


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Keyed hashes of the patients and series that a bundle has seen in training or validation.

    Attributes:
        salt: Hex key of the hashes, made for this bundle.
        patients: HMAC-SHA256 of patient identities, 32 hex digits each.
        series: The same of the series' content hashes.
    """

    salt: str
    patients: frozenset[str]
    series: frozenset[str]

    def saw(self, case: Case) -> bool:
        """Whether the case's patient, or the same file content, was in training."""
        return (case.known_patient and self.saw_patient(case.patient)) or self.saw_series(case.ref.key)

    def saw_patient(self, identity: str) -> bool:
        """Whether a patient of this identity was in training."""
        return _keyed(self.salt, identity) in self.patients

    def saw_series(self, key: str) -> bool:
        """Whether the file content that `SeriesRef.key` names was in training."""
        return _keyed(self.salt, key) in self.series

    def to_json(self) -> str:
        """The text that goes into the bundle."""
        record = {"salt": self.salt, "patients": sorted(self.patients), "series": sorted(self.series)}
        return json.dumps(record, indent=1) + "\n"


def training_set(cases: Iterable[Case]) -> TrainingSet:
    """Hash the patients and series of some cases under a fresh salt."""
    salt = secrets.token_hex(16)
    listed = list(cases)
    return TrainingSet(
        salt,
        frozenset(_keyed(salt, case.patient) for case in listed if case.known_patient),
        frozenset(_keyed(salt, case.ref.key) for case in listed),
    )


def parse_training_set(text: str) -> TrainingSet:
    """Read what `to_json` wrote."""
    record = json.loads(text)
    return TrainingSet(record["salt"], frozenset(record["patients"]), frozenset(record["series"]))


def _keyed(salt: str, identity: str) -> str:
    return hmac.new(bytes.fromhex(salt), identity.encode(), hashlib.sha256).hexdigest()[:32]
