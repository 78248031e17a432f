"""Single values: codes, code strings, numbers, text, dates; and what the options keep."""

import datetime

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import DataElement, Dataset
from pydicom.datadict import DicomDictionary
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.tag import Tag

from pipeline.deidentify.cleaner import Cleaner
from pipeline.deidentify.dates import shift
from pipeline.deidentify.identities import identities_of
from pipeline.deidentify.kept import TEXT
from pipeline.deidentify.options import Options
from pipeline.deidentify.profile import Action, action_for
from pipeline.deidentify.secret import Secret
from pipeline.deidentify.vocabulary import clean_description
from tests.pipeline.deidentify.builders import code, item

SECRET = Secret(b"k" * 32)
TOKEN = "zephyr-Qvx"


def cleaned(ds, **options):
    return Cleaner(SECRET, Options(**options), "id:1", identities_of(ds)).clean(ds)


@pytest.mark.parametrize(
    ("tag", "action"),
    [
        (0x00100010, Action.PATIENT),
        (0x00100030, Action.EMPTY),  # Z in the table
        (0x00101000, Action.REMOVE),  # X
        (0x00080018, Action.REPLACE_UID),  # U
        (0x0018A002, Action.REMOVE),  # X
        (0x0040A123, Action.DUMMY),  # D
        (0x00280010, Action.CLEAN),  # not in the table
        (0x00290010, Action.REMOVE),  # private
        (0x60003000, Action.REMOVE),  # (60xx,3000)
        (0x50003000, Action.REMOVE),  # (50xx,xxxx)
        (0xFFFCFFFC, Action.REMOVE),
        (0x00080FFE, Action.REMOVE),  # unknown
        (0x00080000, Action.REMOVE),  # group length
    ],
)
def test_actions_are_those_of_the_table(tag, action):
    assert action_for(tag) == action


def test_a_standard_code_keeps_its_code_and_gets_the_words_of_the_standard():
    out = cleaned(item(ProcedureCodeSequence=[code("39607008", "SCT", TOKEN)])).ProcedureCodeSequence[0]
    assert (out.CodeValue, out.CodingSchemeDesignator, out.CodeMeaning) == ("39607008", "SCT", codes.SCT.Lung.meaning)


def test_a_local_code_becomes_a_keyed_stand_in():
    first, again, other = (
        cleaned(item(ProcedureCodeSequence=[code(value, "99SITE", TOKEN)])).ProcedureCodeSequence[0]
        for value in ("A1", "A1", "A2")
    )
    assert first == again
    assert first.CodeValue != other.CodeValue
    assert (first.CodingSchemeDesignator, first.CodeMeaning) == ("99SCANSHIFT", "Not told")


@pytest.mark.parametrize(
    ("value", "scheme"), [("SMITH", "DCM"), ("SMITH", "UCUM"), ("SMITH", "SCT"), ("{smith}", "UCUM")]
)
def test_a_name_under_a_standard_scheme_is_no_code(value, scheme):
    out = cleaned(item(ProcedureCodeSequence=[code(value, scheme, "x")])).ProcedureCodeSequence[0]
    assert out.CodingSchemeDesignator == "99SCANSHIFT"


def test_words_of_the_patient_are_struck_from_code_strings_and_kept_text():
    ds = item(PatientName="Meyer^Anna", ImageType=["ORIGINAL", "PRIMARY", "MEYER"], Manufacturer="Maker for Meyer")
    ds.BodyPartExamined, ds.ScanOptions = "HAND", "ANNA"
    out = cleaned(ds)
    assert list(out.ImageType) == ["ORIGINAL", "PRIMARY", "OTHER"]
    assert (out.Manufacturer, out.BodyPartExamined, out.ScanOptions or "") == ("REMOVED", "HAND", "")


def test_a_body_part_outside_the_vocabulary_is_removed():
    assert "BodyPartExamined" not in cleaned(item(BodyPartExamined="OPA WALTER"))


def test_numbers_must_be_numbers():
    ds = item(KVP=120)
    ds.add_new(0x00180050, "DS", "7")
    ds[0x00180050]._value = "SMITH"
    ds.add_new(0x00280010, "US", [1, 2, 3])
    out = cleaned(ds)
    assert (out.KVP, out["SliceThickness"].is_empty, out["Rows"].is_empty) == (120, True, True)


@pytest.mark.parametrize(
    ("vr", "text", "expected"),
    [
        ("DA", "20200301", "20200220"),
        ("DA", "2020.03.01", "20200220"),
        ("DA", "20200230", ""),
        ("DA", "00010101", ""),
        ("DA", "Monday", ""),
        ("TM", "235959.5", "235959.5"),
        ("TM", "half past", ""),
        ("DT", "20200101120000.5+0100", "20191222120000.5"),
        ("DT", "2020", ""),
        ("DT", "20200101noon", ""),
    ],
)
def test_dates_are_set_back_and_times_kept(vr, text, expected):
    assert shift(vr, text, 10) == expected


def test_shifted_dates_keep_their_distances_and_birth_stays_empty():
    ds = item(StudyDate="20200301", AcquisitionDate="20200303", PatientBirthDate="19500101", StudyTime="101112")
    out = cleaned(ds, dates="shift")
    first, second = (datetime.date.fromisoformat(str(text)) for text in (out.StudyDate, out.AcquisitionDate))
    assert (second - first).days == 2
    assert (out.StudyTime, out.PatientBirthDate or "") == ("101112", "")
    days = SECRET.days("id:1")
    assert out.StudyDate == shift("DA", "20200301", days)
    assert 1 <= days <= 3650


def test_days_uids_and_pseudonyms_depend_on_key_and_identity():
    other = Secret(b"o" * 32)
    assert SECRET.uid("1.2.3") == SECRET.uid("1.2.3\0") != other.uid("1.2.3")
    assert SECRET.uid("1.2.3").startswith("2.25.")
    assert pydicom.uid.UID(SECRET.uid("1.2.3")).is_valid
    assert SECRET.uid("1.2.840.10008.1.2.1") == "1.2.840.10008.1.2.1"
    assert SECRET.uid("1.2.840.10008.19431107") != "1.2.840.10008.19431107"
    assert SECRET.patient("a") != SECRET.patient("b")
    assert len({SECRET.days(str(number)) for number in range(50)}) > 40


def test_device_identity_is_kept_only_when_asked_for():
    ds = item(DeviceSerialNumber="SN 4711", StationName="CT3", OperatorsName="A^B")
    assert (cleaned(ds).DeviceSerialNumber, cleaned(ds).StationName) == ("REMOVED", "REMOVED")
    kept = cleaned(ds, retain_device=True)
    assert (kept.DeviceSerialNumber, kept.StationName, kept.OperatorsName or "") == ("SN 4711", "CT3", "")


def test_descriptions_are_cleaned_down_to_the_vocabulary():
    assert clean_description("CT Thorax, Fr. Meyer 3.5.44, axial") == "CT THORAX AXIAL"
    ds = item(SeriesDescription="CT Thorax, Fr. Meyer", StudyDescription="Meyer")
    assert "SeriesDescription" not in cleaned(ds)
    kept = cleaned(ds, clean_descriptors=True)
    assert kept.SeriesDescription == "CT THORAX"
    assert "StudyDescription" not in kept


TEXT_VRS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UN", "UR", "UT", "OB")
TAGS = [
    tag
    for tag, (vr, *_) in DicomDictionary.items()
    if tag >> 16 >= 8 and (vr in TEXT_VRS or vr == "SQ") and tag >> 16 != 0x7FE0
]
TREES = st.recursive(
    st.just(TOKEN),
    lambda below: st.dictionaries(st.sampled_from(TAGS), below, min_size=1, max_size=4),
    max_leaves=12,
)


def tree(shape):
    ds = Dataset()
    for tag, below in shape.items():
        vr = DicomDictionary[tag][0]
        if isinstance(below, dict):
            ds[Tag(tag)] = DataElement(Tag(tag), "SQ", Sequence([tree(below)]))
        else:
            vr = "LO" if vr == "SQ" else vr
            ds[Tag(tag)] = DataElement(Tag(tag), vr, TOKEN.encode() if vr in ("UN", "OB") else TOKEN)
    return ds


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES.filter(lambda shape: isinstance(shape, dict)), st.booleans(), st.booleans())
def test_no_tree_of_elements_keeps_what_was_planted(shape, private, known):
    """Text that machines write is kept unless it holds a word of the patient, so it counts only where that is known."""
    ds = tree(shape)
    if private:
        ds.add_new(0x00111010, "SQ", Sequence([tree(shape)]))
    words = frozenset({"zephyr"}) if known else frozenset()
    chosen = Options(clean_descriptors=True, dates="shift", retain_device=known)
    for element in Cleaner(SECRET, chosen, "id:1", words).clean(ds).iterall():
        assert not element.tag.is_private
        if element.VR != "SQ" and (known or element.tag not in TEXT):
            assert "zephyr" not in str(element.value).casefold()
