import importlib

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.check import codecs
from pipeline.check.codecs import decoders_here, syntax_name, syntaxes_found
from pipeline.ingest.syntaxes import DECODERS, NATIVE

MPEG2 = "1.2.840.10008.1.2.4.100"


def test_every_decoder_of_the_reader_is_looked_for_and_works_here():
    found = decoders_here()
    assert set(found) == set(DECODERS.values())
    assert all(decoder.works and decoder.version for decoder in found.values())


def test_every_decoder_is_known_by_module_and_package():
    assert set(DECODERS.values()) <= set(codecs.PACKAGES)


def test_a_decoder_that_cannot_be_imported_makes_its_syntaxes_unreadable(monkeypatch):
    real = importlib.import_module

    def without(name):
        if name == "imagecodecs":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without)
    decoders = decoders_here()
    assert not decoders["imagecodecs"].works
    served = [syntax for syntax, decoder in DECODERS.items() if decoder == "imagecodecs"]
    other = next(syntax for syntax, decoder in DECODERS.items() if decoder != "imagecodecs")
    rows = syntaxes_found({served[0]: 3, other: 2, str(ExplicitVRLittleEndian): 1}, decoders)
    assert [(row.files, row.readable) for row in rows] == [(3, False), (2, True), (1, True)]


def test_a_library_that_cannot_be_loaded_does_not_work(monkeypatch):
    def broken(name):
        raise OSError("libjpeg.so.9: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    assert not any(decoder.works for decoder in decoders_here().values())


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setitem(codecs.PACKAGES, "imagecodecs", ("imagecodecs", "no-such-package-here"))
    assert decoders_here()["imagecodecs"].version == ""


def test_every_syntax_that_is_read_has_a_name():
    assert "not in the standard" not in {syntax_name(syntax) for syntax in [*NATIVE, *DECODERS]}


@pytest.mark.parametrize("syntax", ["1.2.3.4.5.6", "Meier^Anna", ""])
def test_a_syntax_outside_of_the_standard_is_not_spelt_out(syntax):
    assert syntax_name(syntax) == ("not in the standard" if syntax else syntax_name(""))
    assert "Meier" not in syntax_name(syntax)


def test_files_in_a_syntax_without_decoder_are_counted(tmp_path, radiograph, write, check_folder):
    good = radiograph(np.arange(30, dtype=np.uint16).reshape(6, 5))
    write(good, tmp_path / "scans" / "a.dcm")
    for n in range(2):
        film = radiograph(np.zeros((6, 5), dtype=np.uint16), SeriesInstanceUID=f"1.9.{n}", SOPInstanceUID=f"1.8.{n}")
        film.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x02\0\0\0" + bytes([n, 0])
        film.PixelData += b"\xfe\xff\xdd\xe0\0\0\0\0"
        film["PixelData"].VR = "OB"
        film["PixelData"].is_undefined_length = True
        write(film, tmp_path / "scans" / f"film{n}.dcm", MPEG2)
    check = check_folder()
    assert [row.ref.status for row in check.rows] == ["ok", "refused", "refused"]
    rows = {row.name: (row.files, row.decoder, row.readable) for row in check.syntaxes}
    assert rows == {
        "MPEG2 Main Profile / Main Level": (2, "none here", False),
        "Explicit VR Little Endian": (1, "none needed (uncompressed)", True),
    }
