"""The structured report of one scored series, in the study of its images."""

import dataclasses
import hashlib
import json
from importlib.metadata import version

import highdicom as hd
import pydicom

from pipeline.errors import ResultError, ScanError
from pipeline.ingest.dicom import frames_read
from pipeline.ingest.faults import FAULTS
from pipeline.ingest.silence import quiet
from pipeline.model_record import ModelRecord
from pipeline.scan import SeriesRef
from pipeline.score.origin import UTF_8, Origin, equipment, read_headers, series_number
from pipeline.score.outcome import Outcome
from pipeline.score.results.content import DECIMALS, measurement_report
from pipeline.score.results.vocabulary import scheme

SERIES_NUMBER = 8000  # added to that of the images
LAYOUT = 1  # raised whenever the same result would be written otherwise
KIND = "results"


def instance_uid(ref: SeriesRef, outcome: Outcome, origin: Origin) -> str:
    """SOP Instance UID of a result: the same whenever the same series has the same result of the same bundle.

    DICOM forbids another content under a UID that was given out, so that decision and numbers, as they are written,
    take part in it.
    """
    said = dataclasses.asdict(outcome) | {
        "probability": [f"{value:.{DECIMALS}f}" for value in outcome.probability],
        "anomaly_score": f"{outcome.anomaly_score:.{DECIMALS}f}",
    }
    content = hashlib.sha256(json.dumps([LAYOUT, version("scanshift"), said], sort_keys=True).encode()).hexdigest()
    return origin.uid(KIND, ref.series_uid, ref.key, content)


def structured_report(ref: SeriesRef, outcome: Outcome, record: ModelRecord, origin: Origin) -> pydicom.Dataset:
    """The result as a Comprehensive SR by TID 1500, unverified and preliminary.

    Patient and study are copied from the images as they are, all of which are its evidence.

    Raises:
        ResultError: If the images' header lacks what every DICOM object needs, or the file is another by now.
    """
    try:
        with quiet():  # libraries quote the header
            return _made(ref, outcome, record, origin)
    except ScanError as error:
        raise ResultError(str(error)) from error
    except OSError as error:
        raise ResultError(f"the images cannot be read ({error.strerror or type(error).__name__})") from error
    except FAULTS as error:  # its message is left out, since it quotes the header
        raise ResultError(f"the images' header lacks what a result needs ({type(error).__name__})") from error


def _made(ref: SeriesRef, outcome: Outcome, record: ModelRecord, origin: Origin) -> pydicom.Dataset:
    images = read_headers(ref.files)
    frames = frames_read(ref)
    report = measurement_report(
        record,
        outcome,
        [
            hd.sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID, list(frames) or None)
            for header in images.headers
        ],
        modality=ref.modality,
        origin=origin,
        tracking=origin.uid(KIND, ref.series_uid, ref.key, "tracking"),
    )
    made = hd.sr.ComprehensiveSR(
        evidence=images.headers,
        content=report[0],
        series_instance_uid=origin.uid(KIND, ref.series_uid, ref.key, "series"),
        series_number=series_number(images.first, SERIES_NUMBER),
        sop_instance_uid=instance_uid(ref, outcome, origin),
        instance_number=1,
        is_complete=True,
        is_final=False,
        series_description="ScanShift results, research use only",
        coding_schemes=[scheme()],
        specific_character_set=UTF_8,
        **equipment(origin.model),
    )
    images.adopt(made)
    return made
