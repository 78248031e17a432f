"""Walk one object: every element at every depth goes through the profile into a new data set."""

from collections import Counter
from dataclasses import dataclass, field

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.tag import Tag

from pipeline.deidentify import codes
from pipeline.deidentify.dates import shift
from pipeline.deidentify.kept import DESCRIPTIONS, DEVICE
from pipeline.deidentify.lookup_tables import cut_tables
from pipeline.deidentify.options import Options
from pipeline.deidentify.profile import TABLE, Action, action_for, tags_of
from pipeline.deidentify.secret import Secret
from pipeline.deidentify.values import clean_value, components, dummy, plain, vrs_of
from pipeline.deidentify.vocabulary import clean_description
from pipeline.ingest.faults import FAULTS

TEMPORAL = frozenset({"DA", "DT", "TM"})
BIRTH = tags_of(("PatientBirthDate", "PatientBirthTime"))
CHARSET = 0x00080005  # all that is kept is ASCII
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
CODE_GROUP = range(0x00080100, 0x00080124)


@dataclass(slots=True)
class Cleaner:
    """De-identifies the data set of one object, without its pixels.

    Attributes:
        secret: The key.
        options: What the user chose.
        patient: Who the patient is, in the source's own words; see `patient_identity`.
        identities: Words that no kept text may hold.
        little_endian: Byte order of the source.
        changes: How often which element was changed how: ("(0010,0010) PatientName", "replaced").
    """

    secret: Secret
    options: Options
    patient: str
    identities: frozenset[str]
    little_endian: bool = True
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def clean(self, source: Dataset) -> Dataset:
        """The data set without what identifies; elements that cannot be read are removed."""
        out = Dataset()
        for tag in sorted(source.keys()):
            number = int(tag)
            if number == CHARSET or number in PIXELS:
                continue
            try:
                element = source[tag]
                kept = self._element(element) if isinstance(element, DataElement) else None
            except FAULTS:
                kept, element = None, None
            self._count(number, element, kept)
            if kept is not None:
                out[tag] = kept
        cut_tables(out)
        return out

    def _element(self, element: DataElement) -> DataElement | None:
        tag, vr = int(element.tag), str(element.VR)
        optional = self._by_option(tag, element)
        if optional is not None:
            return optional
        action = action_for(tag)
        if action == Action.REMOVE:
            return None
        if vr not in vrs_of(tag) and action != Action.CLEAN:
            return None
        if action == Action.PATIENT:
            return DataElement(element.tag, vr, self.secret.patient(self.patient))
        if vr == "SQ" and vr in vrs_of(tag):
            return self._sequence(element, action)
        if action == Action.CLEAN:
            return clean_value(element, self.secret, self.identities, little_endian=self.little_endian)
        if action == Action.REPLACE_UID or vr == "UI":
            return DataElement(element.tag, "UI", [self.secret.uid(str(uid)) for uid in components(element)])
        if action == Action.EMPTY or not components(element):
            return DataElement(element.tag, vr, None)
        return dummy(tag, vr)

    def _by_option(self, tag: int, element: DataElement) -> DataElement | None:
        """What an option of the profile keeps of an element; None where none applies, or nothing would be left."""
        vr, values = str(element.VR), components(element)
        if not dictionary_has_tag(tag) or vr not in vrs_of(tag) or not values:
            return None
        if self.options.dates == "shift" and vr in TEMPORAL and tag not in BIRTH and tag in TABLE:
            days = self.secret.days(self.patient)
            texts = [shift(vr, str(getattr(value, "original_string", value)), days) for value in values]
            return DataElement(element.tag, vr, texts) if all(texts) else None
        if self.options.retain_device and tag in DEVICE:
            return element if all(plain(str(value), self.identities) for value in values) else None
        if self.options.clean_descriptors and tag in DESCRIPTIONS:
            text = clean_description(" ".join(str(value) for value in values))
            return DataElement(element.tag, vr, text) if text else None
        return None

    def _sequence(self, element: DataElement, action: Action) -> DataElement:
        if action == Action.EMPTY:
            return DataElement(element.tag, "SQ", [])
        if action == Action.DUMMY:
            return DataElement(element.tag, "SQ", [self._item(_no_code()) for _ in element.value[:1]])
        return DataElement(element.tag, "SQ", [self._item(item) for item in element.value])

    def _item(self, item: Dataset) -> Dataset:
        if not codes.is_code(item):
            return self.clean(item)
        code = codes.clean_code(item, self.secret)
        rest = Dataset()  # such as modifiers, which are sequences of codes again
        for tag in list(item.keys()):  # iterating the data set itself converts every value, and can raise
            if int(tag) not in CODE_GROUP:
                rest[tag] = item.get_item(tag)
        code.update(self.clean(rest))
        return code

    def _count(self, tag: int, element: DataElement | None, kept: DataElement | None) -> None:
        if kept is None:
            self.changes[label(tag), "removed"] += 1
        elif element is not None and kept.VR != "SQ" and components(kept) != components(element):
            self.changes[label(tag), "emptied" if kept.is_empty else "replaced"] += 1


def _no_code() -> Dataset:
    item = Dataset()
    item.CodeValue = ""
    return item


def label(tag: int) -> str:
    """How a report names an element; private and unknown ones are told as a kind, since their tags may say whose."""
    if tag >> 16 & 1:
        return "private"
    if tag >> 24 in (0x50, 0x60):
        return "curve (50xx)" if tag >> 24 == 0x50 else "overlay (60xx)"
    return f"{Tag(tag)} {keyword_for_tag(tag)}" if dictionary_has_tag(tag) else "unknown"


def patient_identity(dataset: Dataset) -> str:
    """Who the patient is: id and issuer; without an id, the study, or else the object itself."""
    number = str(dataset.get("PatientID") or "").strip()
    if number:
        return f"id:{number}\0{str(dataset.get('IssuerOfPatientID') or '').strip()}"
    study = str(dataset.get("StudyInstanceUID") or "")
    return f"study:{study}" if study else f"object:{dataset.get('SOPInstanceUID')}"
