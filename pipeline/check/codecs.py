"""Transfer syntaxes that were found, which decoder serves each, and whether that decoder works on this machine."""

import importlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from pydicom import uid

from pipeline.ingest.silence import quiet
from pipeline.ingest.syntaxes import DECODERS, NATIVE

NEWER_NAMES = {"1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression"}  # which pydicom 3.0 does not know
NO_DECODER = "none here"
PYTHON = "Python"
PACKAGES: dict[str, tuple[str, str]] = {  # decoder to the module it needs and the package that brings it
    "zlib": ("zlib", PYTHON),
    "pydicom": ("pydicom", "pydicom"),
    "imagecodecs": ("imagecodecs", "imagecodecs"),
    "pyjpegls": ("jpeg_ls", "pyjpegls"),
    "pylibjpeg": ("openjpeg", "pylibjpeg-openjpeg"),
}


@dataclass(frozen=True, slots=True)
class SyntaxFound:
    """One transfer syntax among the files.

    Attributes:
        name: In words.
        files: How many files are in it.
        decoder: What decodes it here.
        readable: Whether there is such a decoder and it can be imported.
    """

    name: str
    files: int
    decoder: str
    readable: bool


@dataclass(frozen=True, slots=True)
class DecoderHere:
    """One decoder package.

    Attributes:
        package: Its name.
        version: Empty where it is not installed.
        works: Whether it can be imported.
    """

    package: str
    version: str
    works: bool


def syntax_name(syntax: str) -> str:
    """A transfer syntax in words; one that the standard does not know is not spelt out."""
    if syntax in NEWER_NAMES:
        return NEWER_NAMES[syntax]
    with quiet():  # a warning would quote what the header holds
        name: str = uid.UID(syntax).name
    return name if name != syntax else "not in the standard"


def decoder_words(syntax: str) -> str:
    """Which decoder serves a transfer syntax here."""
    return "none needed (uncompressed)" if syntax in NATIVE else DECODERS.get(syntax, NO_DECODER)


def syntaxes_found(files: Mapping[str, int], decoders: Mapping[str, DecoderHere]) -> tuple[SyntaxFound, ...]:
    """What is found, the most frequent first.

    Args:
        files: Transfer Syntax UID to number of files.
        decoders: As `decoders_here` gives them.
    """
    working = {name for name, decoder in decoders.items() if decoder.works}
    rows = [
        SyntaxFound(
            name=syntax_name(syntax),
            files=count,
            decoder=decoder_words(syntax),
            readable=syntax in NATIVE or DECODERS.get(syntax) in working,
        )
        for syntax, count in files.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.files, row.name)))


def decoders_here() -> dict[str, DecoderHere]:
    """Every decoder that some syntax needs, imported to see whether it works."""
    found: dict[str, DecoderHere] = {}
    for decoder in sorted(set(DECODERS.values())):
        module, package = PACKAGES.get(decoder, (decoder, decoder))
        found[decoder] = DecoderHere(package, _version(package), _imports(module))
    return found


def _version(package: str) -> str:
    if package == PYTHON:
        return platform.python_version()
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _imports(module: str) -> bool:
    try:
        importlib.import_module(module)
    except (ImportError, OSError):  # OSError: a shared library that cannot be loaded
        return False
    return True
