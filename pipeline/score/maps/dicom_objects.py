"""What a heat-map can be in DICOM: Parametric Map, Segmentation of what lies above a threshold, or a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from pipeline.errors import MapError

ALTERED = Code("49755003", "SCT", "Morphologically Altered Structure")
LESION = Code("52988006", "SCT", "Lesion")


@dataclass(frozen=True, slots=True, eq=False)
class DicomMap:
    """What is written.

    Attributes:
        carried: The map on the scan's own grid, shape (I, J, K), float32.
        about: The class that it speaks for.
        cut: Value from which a segmentation takes a voxel in; None where there is no such value.
        picture: The image with the heat over it, shape (H, W, 3), uint8; None where none was drawn.
    """

    carried: npt.NDArray[np.float32]
    about: str
    cut: float | None
    picture: npt.NDArray[np.uint8] | None = None


def parametric(sources: Sequence[pydicom.Dataset], found: DicomMap, shared: dict[str, Any]) -> pydicom.Dataset:
    """The values as they are, as float32."""
    low, high = float(found.carried.min()), float(found.carried.max())
    if low == high:
        raise MapError("no DICOM map: it has one value everywhere")
    return hd.pm.ParametricMap(
        sources,
        np.ascontiguousarray(found.carried.transpose(2, 1, 0)),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            hd.pm.RealWorldValueMapping(
                lut_label="HEAT",
                lut_explanation=f"evidence for {found.about}"[:64],
                unit=codes.UCUM.NoUnits,
                value_range=(low, high),
                slope=1.0,
                intercept=0.0,
            )
        ],
        voi_lut_transformations=[
            hd.VOILUTTransformation(
                window_center=(low + high) / 2,
                window_width=high - low,
                voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT,  # the only one that may be narrower than 1
            )
        ],
        content_description=f"evidence for {found.about}"[:64],
        **shared,
    )


def segmentation(sources: Sequence[pydicom.Dataset], found: DicomMap, shared: dict[str, Any]) -> pydicom.Dataset:
    """The voxels from the cut upwards."""
    if found.cut is None:
        raise MapError("no DICOM map: no value of this detector's map parts voxels; a Parametric Map needs none")
    inside = found.carried >= found.cut
    if not inside.any():
        raise MapError(f"no DICOM map: no voxel reaches {found.cut:.4g}")
    algorithm = hd.AlgorithmIdentificationSequence(
        name="ScanShift", family=codes.cid7162.ArtificialIntelligence, version=version("scanshift")
    )
    return hd.seg.Segmentation(
        sources,
        np.ascontiguousarray(inside.transpose(2, 1, 0)).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=1,
                segment_label=found.about[:64],
                segmented_property_category=ALTERED,
                segmented_property_type=LESION,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
            )
        ],
        content_description=f"evidence for {found.about}, from {found.cut:.4g}"[:64],
        **shared,
    )


def secondary_capture(sources: Sequence[pydicom.Dataset], found: DicomMap, shared: dict[str, Any]) -> pydicom.Dataset:
    """The picture, as any viewer shows it; it names the images that it was drawn from (PS3.3 A.8.1)."""
    if found.picture is None:
        raise MapError("no DICOM map: there is no picture of it")
    made = hd.sc.SCImage.from_ref_dataset(
        sources[0],
        pixel_array=found.picture,
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "P"),  # asked for here; the caller says what is known
        **shared,
    )
    made.copy_patient_and_study_information(sources[0])
    made.PatientOrientation = []
    made.DerivationDescription = f"evidence for {found.about} over the image"[:1024]
    made.SourceImageSequence = [_reference(source) for source in sources]
    for keyword in ("BurnedInAnnotation", "LossyImageCompression"):  # what is in the pixels of the image is in these
        if sources[0].get(keyword):
            setattr(made, keyword, sources[0].get(keyword))
    return made


def _reference(source: pydicom.Dataset) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return item


Maker = Callable[[Sequence[pydicom.Dataset], DicomMap, dict[str, Any]], pydicom.Dataset]
MAKERS: dict[str, Maker] = {
    "parametric": parametric,
    "segmentation": segmentation,
}
