"""Which DICOM objects a heat-map may be written as; apart from them, so that asking takes no import of highdicom."""

from typing import Literal

DicomMaps = Literal["none", "parametric", "segmentation", "secondary-capture"]
