"""Who and what was in training, as keyed hashes inside the bundle: enough to warn, not enough to tell who."""

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
from pipeline.learn.known_pictures import KnownPictures, known_pictures, read_known_pictures, slabs_of
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case

FILE = "configs/training_set.json"
MOST_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Keyed hashes of the patients and series that a bundle has seen in training or validation.

    Attributes:
        salt: Hex key of the hashes, made for this bundle.
        patients: HMAC-SHA256 of patient identities, 32 hex digits each.
        series: The same of the series' content hashes.
        parents: Those of the bundle whose network was the start, under salts of their own.
        pictures: Hashes by which copies of the scans are recognised; None in bundles from before there were any.
    """

    salt: str
    patients: frozenset[str]
    series: frozenset[str]
    parents: "tuple[TrainingSet, ...]" = ()
    pictures: KnownPictures | None = None

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

    def all_pictures(self) -> list[KnownPictures]:
        """The pictures of this training set and of its parents, where they are known."""
        own = [self.pictures] if self.pictures is not None else []
        return own + [pictures for parent in self.parents for pictures in parent.all_pictures()]

    def to_json(self) -> str:
        """The text that goes into the bundle."""
        return json.dumps(self._record(), indent=1) + "\n"

    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = {"salt": self.salt, "patients": sorted(self.patients), "series": sorted(self.series)}
        if self.pictures is not None:
            record["pictures"] = self.pictures.record()
        return record | ({"parents": [parent._record() for parent in self.parents]} if self.parents else {})


def training_set(
    cases: Iterable[Case], parents: "tuple[TrainingSet, ...]" = (), store: SampleStore | None = None
) -> TrainingSet:
    """Hash the patients and series of some cases under a fresh salt, and their pictures if a store holds them.

    The pictures are those before harmonisation, which keeps the order of greys that they are recognised by.
    """
    salt = secrets.token_hex(16)
    listed = list(cases)
    pictures = None
    if store is not None:
        plain = SampleStore(store.folder, store.preparation.plain())
        pictures = known_pictures((plain.load(case.ref.key) for case in listed), salt, slabs_of(plain.preparation))
    return TrainingSet(
        salt,
        frozenset(_keyed(salt, case.patient) for case in listed if case.known_patient),
        frozenset(_keyed(salt, case.ref.key) for case in listed),
        parents,
        pictures,
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
    path = bundle.folder / FILE
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise BundleError(f"{bundle.folder}: {FILE} is larger than any training set's")
    try:
        return parse_training_set(bundle.text(FILE))
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{bundle.folder}: {FILE} is not readable") from error


def parse_training_set(text: str) -> TrainingSet:
    """Read what `to_json` wrote."""
    return _read(json.loads(text))


def _read(record: dict[str, Any]) -> TrainingSet:
    parents = tuple(_read(parent) for parent in record.get("parents", ()))
    salt = record["salt"]
    bytes.fromhex(salt)
    seen = record.get("pictures")
    pictures = None if seen is None else read_known_pictures(seen, salt)
    return TrainingSet(salt, frozenset(record["patients"]), frozenset(record["series"]), parents, pictures)


def _keyed(salt: str, identity: str) -> str:
    return hmac.new(bytes.fromhex(salt), identity.encode(), hashlib.sha256).hexdigest()[:32]
