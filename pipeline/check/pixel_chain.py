"""From stored bytes to the values that are read, step by step, as the headers say it before anything is decoded."""

from collections import Counter
from collections.abc import Sequence

from pipeline.check.chain import ChainStep, PixelChain, Range
from pipeline.check.codecs import decoder_words, syntax_name
from pipeline.check.look import Look, Storage
from pipeline.ingest.headers import COLOUR, GREY
from pipeline.scan import SeriesRef

# Defined terms: PS3.3 C.11.1.1.2 (Rescale Type) and C.8.9.1.1.3 (Units); free text is not shown.
UNITS = {
    "HU": "Hounsfield units",
    "HU_MOD": "modified Hounsfield units",
    "OD": "thousandths of optical density",
    "MGML": "mg/ml",
    "PCT": "per cent",
    "BQML": "Bq/ml",
    "CNTS": "counts",
    "CPS": "counts per second",
    "GML": "g/ml",
    "CM2ML": "cm2/ml",
    "PROPCNTS": "proportional to counts",
}


def dicom_chain(ref: SeriesRef, look: Look) -> PixelChain:
    """The chain of a DICOM series by its headers."""
    if not look.storages:
        return PixelChain(())
    in_colour = any(storage.photometric in COLOUR for storage in look.storages)
    steps = [
        ChainStep("transfer syntax", _counted(Counter(map(syntax_name, look.syntaxes.elements())), "file")),
        ChainStep("decoder", ", ".join(sorted({decoder_words(syntax) for syntax in look.syntaxes}))),
        ChainStep("stored as", _counted(_bits(look), "image")),
    ]
    if in_colour:
        steps += [ChainStep("colour", _colour_words(look)), ChainStep("polarity", "colour is never inverted")]
        return PixelChain(tuple(steps), possible=(0.0, 255.0))
    inverted = look.total is not None
    steps += [
        ChainStep("modality values", _rescale_words(look)),
        ChainStep("unit", _unit_words(ref.modality, look.unit)),
        ChainStep("polarity", _polarity_words(ref, look)),
        ChainStep("window", _window_words(ref, look)),
    ]
    return PixelChain(tuple(steps), _possible(look), inverted)


def _bits(look: Look) -> Counter[str]:
    words: Counter[str] = Counter()
    for storage, count in look.storages.items():
        sign = "signed" if storage.signed else "unsigned"
        high = "" if storage.high == storage.stored - 1 else f", high bit {storage.high}"
        words[f"{sign}, {storage.stored} bits stored in {storage.allocated}{high}"] += count
    return words


def _colour_words(look: Look) -> str:
    known = sorted({s.photometric if s.photometric in COLOUR | GREY else "other" for s in look.storages})
    if known == ["RGB"]:
        return "RGB, scaled to 0..255"
    if known == ["PALETTE COLOR"]:
        return "PALETTE COLOR looked up in its tables, to RGB 0..255"
    return f"{', '.join(known)} converted to RGB 0..255"


def _rescale_words(look: Look) -> str:
    if any(storage.table_bits for storage in look.storages):
        return "looked up in the Modality LUT Sequence"
    pairs = {(storage.slope, storage.intercept) for storage in look.storages}
    if pairs == {(1.0, 0.0)}:
        return "as stored, no rescale"
    if len(pairs) == 1:
        ((slope, intercept),) = pairs
        return f"stored x {slope:g} {intercept:+g}, one rescale for all images"
    slopes, intercepts = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return (
        f"stored x slope + intercept, which vary from image to image: slope {_span(slopes)}, "
        f"intercept {_span(intercepts)}"
    )


def _unit_words(modality: str, unit: str) -> str:
    if unit in UNITS:
        return UNITS[unit]
    return UNITS["HU"] if modality == "CT" and not unit else "as the modality stores them, none named"


def _polarity_words(ref: SeriesRef, look: Look) -> str:
    dark = any(storage.photometric == "MONOCHROME1" for storage in look.storages)
    if look.total is not None:
        return f"inverted: MONOCHROME1 shows large values dark; value becomes {look.total:g} - value"
    if ref.kind == "radiograph":
        return "as stored: MONOCHROME2 shows large values bright"
    return f"never inverted in a {ref.kind}" + (", although MONOCHROME1" if dark else "")


def _window_words(ref: SeriesRef, look: Look) -> str:
    if ref.kind != "radiograph":
        return "the header's window is not applied"
    if look.window is None:
        return "none in the header"
    return f"{look.window[0]:g} to {look.window[1]:g}, noted and not applied"


def _possible(look: Look) -> Range:
    ranges = [_range_of(storage) for storage in look.storages]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return (low, high) if look.total is None else (look.total - high, look.total - low)


def _range_of(storage: Storage) -> Range:
    """Lowest and highest value that a frame's bits and rescale allow."""
    if storage.table_bits:
        return (0.0, 2.0**storage.table_bits - 1)
    bottom = -(2 ** (storage.stored - 1)) if storage.signed else 0
    top = bottom + 2**storage.stored - 1
    ends = [storage.slope * end + storage.intercept for end in (bottom, top)]
    return (min(ends), max(ends))


def _counted(words: Counter[str], noun: str) -> str:
    """Each of several with its count; one alone without."""
    if len(words) == 1:
        return next(iter(words))
    return "; ".join(f"{text} ({count} {noun}s)" for text, count in sorted(words.items()))


def _span(values: Sequence[float]) -> str:
    return f"{min(values):g} to {max(values):g}"
