"""What a result says: the content tree of TID 1500 Measurement Report (PS3.16)."""

from collections.abc import Sequence
from importlib.metadata import version

import highdicom as hd
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from pipeline.decide.card import SCORES
from pipeline.model_record import ModelRecord
from pipeline.score.origin import NAME, Origin
from pipeline.score.outcome import Outcome
from pipeline.score.results import vocabulary as words
from pipeline.score.table import predicted_class

RESEARCH = "For research use only; not a medical device. Not for diagnosis or treatment."
DECIMALS = 4  # as in scores.csv

Images = Sequence[hd.sr.SourceImageForMeasurementGroup]


def measurement_report(
    record: ModelRecord, outcome: Outcome, images: Images, *, modality: str, origin: Origin, tracking: str
) -> hd.sr.MeasurementReport:
    """One measurement group with all that scores.csv says of the series, and how to read it.

    Args:
        record: The bundle's record.
        outcome: Of status `scored`.
        images: References to what was scored.
        modality: Of the images.
        origin: Who scored it.
        tracking: UID of the finding.
    """
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=origin.uid("device"),
            name=NAME,
            manufacturer_name=NAME,
            model_name=words.plain_text(f"{_method(record)} on {record.backbone}"),
            serial_number=origin.model,
        ),
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=words.procedure(modality),
        imaging_measurements=[_group(record, outcome, images, digest=origin.model, tracking=tracking)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    report[0].ContentSequence.append(_evaluations(record))
    return report


def _group(
    record: ModelRecord, outcome: Outcome, images: Images, *, digest: str, tracking: str
) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=tracking, identifier=f"{NAME} result"),
        algorithm_id=_algorithm(record, digest),
        measurements=_measurements(record, outcome),
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(words.DECISION, words.DECISIONS[outcome.decision]),
            hd.sr.QualitativeEvaluation(words.PREDICTED, words.class_code(predicted_class(record, outcome))),
            hd.sr.QualitativeEvaluation(words.REFERRED, words.YES if outcome.decision == "refer" else words.NO),
        ],
    )
    items = group[0].ContentSequence
    if outcome.reason:
        items.append(_text(words.REASON, outcome.reason))
    items.extend(images)
    return group


def _method(record: ModelRecord) -> str:
    """What sort of model it is; also the algorithm's name."""
    return f"anomaly detector {record.detector.name}" if record.detector is not None else "classifier"


def _algorithm(record: ModelRecord, digest: str) -> hd.sr.AlgorithmIdentification:
    """TID 4019: which model, down to the bytes of its bundle."""
    parameters = [
        f"bundle: {digest}",
        f"bundle made: {record.created}",
        f"task: {record.task}",
        f"backbone: {record.backbone}",
        f"weights: {record.weights.get('origin', '')}",
    ]
    if record.policy.raw_threshold is not None:
        parameters.append(f"raw score from which a scan is called abnormal: {record.policy.raw_threshold:.6g}")
    return hd.sr.AlgorithmIdentification(
        name=words.plain_text(f"{NAME} {_method(record)}"),
        version=version("scanshift"),
        parameters=[words.plain_text(one) for one in parameters],
        family=codes.cid7162.ArtificialIntelligence,
        manufacturer=NAME,
    )


def _measurements(record: ModelRecord, outcome: Outcome) -> list[hd.sr.Measurement]:
    """The numbers of scores.csv; a detector's ranks are no probabilities, and its score alone stands here."""
    unit = words.PROBABILITY if record.detector is None else codes.UCUM.NoUnits
    found = [
        _number(words.ANOMALY_SCORE, outcome.anomaly_score or 0.0, unit),
        _number(words.ANOMALY_FROM, record.anomaly_threshold, unit),
    ]
    if record.detector is None:
        pairs = zip(record.classes, outcome.probability, strict=True)
        found += [_number(words.probability_code(name), value, words.PROBABILITY) for name, value in pairs]
    return found


def _number(name: Code, value: float, unit: Code) -> hd.sr.Measurement:
    return hd.sr.Measurement(name=name, value=float(f"{value:.{DECIMALS}f}"), unit=unit)


def _evaluations(record: ModelRecord) -> hd.sr.ContainerContentItem:
    """TID 1500 rows 12 to 14: what the result is for, and how it came to be."""
    container = hd.sr.ContainerContentItem(
        name=words.EVALUATIONS, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
    )
    items = [
        _text(words.INTENDED_USE, RESEARCH),
        _text(words.SCORE_MEANING, SCORES[record.task]),
        _text(words.CALIBRATION, calibration(record)),
        *(_text(words.POLICY, line) for line in record.policy.lines),
    ]
    for name in record.classes:  # in full, where a code's meaning had to be cut or changed
        whole = words.probability_words(name)
        if words.long_string(whole) != whole:
            items.append(_text(words.class_code(name), name))
    container.ContentSequence = hd.sr.ContentSequence(items)
    return container


def calibration(record: ModelRecord) -> str:
    """How scores became probabilities or ranks, and on which scans, in a sentence."""
    if record.detector is not None:
        return f"the score is a rank among held-out normal scans ({record.measured_on}), no probability of disease"
    shifted = ", then shifted for the target's mix of classes" if record.bias else ""
    return (
        f"probabilities are calibrated by temperature scaling, temperature {record.temperature:.4g}{shifted}, "
        f"on {record.measured_on}"
    )


def _text(name: Code, value: str) -> hd.sr.TextContentItem:
    return hd.sr.TextContentItem(
        name=name, value=words.plain_text(value), relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
    )
