"""The record of what becomes of pixels between the file and the network."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One step of the chain.

    Attributes:
        name: What it is about, such as `decoder`.
        words: What happens there.
    """

    name: str
    words: str


@dataclass(frozen=True, slots=True)
class PixelChain:
    """What becomes of a series' stored pixels, as its headers say before anything is decoded.

    Attributes:
        steps: In order.
        possible: Lowest and highest value that can come out by the headers; None where they do not tell.
        inverted: Whether a radiograph's polarity is turned.
    """

    steps: tuple[ChainStep, ...]
    possible: Range | None = None
    inverted: bool = False
