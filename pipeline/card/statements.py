"""What only a person can say about a model: statements for its card, given in the configuration."""

import unicodedata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, field_validator, model_serializer

LONGEST = 2000
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # would show text in another order


def _asks(question: str) -> Any:
    return Field(default="", max_length=LONGEST, description=question)


class Statements(BaseModel):
    """Free text by field; a field without text is named as empty in the card, never filled with a guess.

    The fields are those of CLAIM 2024 and TRIPOD+AI that no run can fill. Each one's question is its description.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    authors: str = _asks("who made the model and answers for it")
    copyright: str = _asks("who holds the rights to the model")
    licence: str = _asks("under which terms the bundle may be used")
    contact: str = _asks("whom to ask")
    intended_use: str = _asks("what question it answers, at which point of care")
    intended_users: str = _asks("who reads its output")
    out_of_scope: str = _asks("what it must not be used for, beyond what the card lists")
    data_source: str = _asks("where the scans come from: hospitals, archive, public data set")
    eligibility: str = _asks("which patients and scans were taken, which were left out, how they were drawn")
    collection_period: str = _asks("when the scans were made")
    demographics: str = _asks("age, sex and other traits of the patients")
    reference_standard: str = _asks("what the labels rest on: report, reading, biopsy, follow-up")
    annotators: str = _asks("who labelled, with what training, how many for each scan, how well they agree")
    sample_size: str = _asks("why so many scans")
    deidentification: str = _asks("how the scans were de-identified")
    ethics: str = _asks("approval and consent, or why none was needed")
    funding: str = _asks("who paid")
    conflicts: str = _asks("interests of the authors")
    registration: str = _asks("where protocol or study is registered")
    data_availability: str = _asks("whether and where the data can be had")
    references: str = _asks("publications, one a line")

    @field_validator("*", mode="after")
    @classmethod
    def _readable(cls, text: str) -> str:
        odd = [c for c in text if c in TURNING or (unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t")]
        if odd:
            raise ValueError(f"holds a character that cannot be shown (U+{ord(odd[0]):04X})")
        return text.strip()

    @model_serializer(mode="wrap")
    def _stated(self, handler: SerializerFunctionWrapHandler) -> dict[str, str]:
        """Only what is stated."""
        return {name: text for name, text in handler(self).items() if text}

    @property
    def unstated(self) -> dict[str, str]:
        """Fields without text, with what each asks."""
        return {name: question for name, question in QUESTIONS.items() if not getattr(self, name)}


QUESTIONS: dict[str, str] = {name: field.description or "" for name, field in Statements.model_fields.items()}
