"""What a bundle says of the headers that it was adapted to."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

LONGEST = 64
Word = Annotated[str, Field(min_length=1, max_length=LONGEST)]


class NumberRange(BaseModel):
    """Between which numbers a field lay.

    Attributes:
        low, high: Inclusive; a physical unit, or whole years of age.
        patients: How many stated it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    high: float
    patients: int = Field(ge=1)

    @model_validator(mode="after")
    def _rising(self) -> "NumberRange":
        if self.low > self.high:
            raise ValueError("low lies above high")
        return self


class WordsSeen(BaseModel):
    """Which words a field held.

    Attributes:
        words: Those that at least five patients had, sorted.
        patients: How many stated any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: tuple[Word, ...] = Field(min_length=1, max_length=200)
    patients: int = Field(ge=1)


class HeaderRanges(BaseModel):
    """The headers of the scans that a model was adapted to, without identity; a field that few stated is absent.

    Attributes:
        patients: Whose scans were looked at.
        age: In whole years, at the ends of decades.
        numbers: Name of the field to its range.
        words: Name of the field to its words; the manufacturer's first word alone, in small letters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patients: int = Field(ge=1)
    age: NumberRange | None = None
    numbers: dict[Word, NumberRange] = {}
    words: dict[Word, WordsSeen] = {}
