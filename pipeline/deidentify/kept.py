"""Elements outside the table whose text is kept, and those that options of the profile keep."""

from pipeline.deidentify.profile import tags_of

# Written by machines, needed to read the image or to tell makes of scanner apart.
TEXT = tags_of(
    (
        "AttenuationCorrectionMethod",
        "ConvolutionKernel",
        "DetectorManufacturerName",
        "DetectorManufacturerModelName",
        "DimensionDescriptionLabel",
        "DoseModeName",
        "FilterType",
        "ImagedNucleus",
        "ImageFilter",
        "LUTExplanation",
        "Manufacturer",
        "ManufacturerModelName",
        "ModalityLUTType",
        "MultiCoilElementName",
        "OpticalPathIdentifier",
        "PhosphorType",
        "PlateType",
        "PulseSequenceName",
        "ReceiveCoilManufacturerName",
        "ReceiveCoilName",
        "ReconstructionMethod",
        "ReferencedOpticalPathIdentifier",
        "RescaleType",
        "ScatterCorrectionMethod",
        "SecondaryCaptureDeviceManufacturer",
        "SecondaryCaptureDeviceManufacturerModelName",
        "SequenceName",
        "SoftwareVersions",
        "StackID",
        "TransmitCoilManufacturerName",
        "TransmitCoilName",
        "TypeOfFilters",
        "WindowCenterWidthExplanation",
    )
)
# People type these, but some objects cannot do without (type 1 or 1C): a dummy takes the place of the text.
DUMMY_TEXT = tags_of(
    (
        "AlgorithmName",
        "AlgorithmVersion",
        "ApplicationManufacturer",
        "ApplicationName",
        "ApplicationVersion",
        "ContentLabel",
        "LUTLabel",
        "MetaboliteMapDescription",
        "RTImageLabel",
        "SegmentAlgorithmName",
        "SegmentLabel",
        "TextValue",
        "TrackingID",
    )
)
# Type 2 somewhere: emptied rather than removed.
EMPTY_TEXT = tags_of(("ContentDescription", "PositionReferenceIndicator", "RequestedProcedurePriority"))

# Numbers by the thousand that the image cannot be shown without. All other bulk data goes.
LOOKUP_TABLES = tags_of(
    (
        "LUTData",
        "RedPaletteColorLookupTableData",
        "GreenPaletteColorLookupTableData",
        "BluePaletteColorLookupTableData",
        "AlphaPaletteColorLookupTableData",
        "SegmentedRedPaletteColorLookupTableData",
        "SegmentedGreenPaletteColorLookupTableData",
        "SegmentedBluePaletteColorLookupTableData",
        "SegmentedAlphaPaletteColorLookupTableData",
    )
)

# Retain Device Identity Option: what names the device, not those who use it, the network or the place.
DEVICE = tags_of(
    (
        "CassetteID",
        "DetectorID",
        "DeviceDescription",
        "DeviceID",
        "DeviceLabel",
        "DeviceSerialNumber",
        "DeviceUID",
        "GantryID",
        "GeneratorID",
        "GridID",
        "LensSerialNumber",
        "ManufacturerDeviceClassUID",
        "ManufacturerDeviceIdentifier",
        "PlateID",
        "SourceSerialNumber",
        "StationName",
        "TreatmentMachineName",
        "UniqueDeviceIdentifier",
        "XRayDetectorID",
        "XRaySourceID",
    )
)
# Clean Descriptors Option: descriptions of which words of the vocabulary are kept.
DESCRIPTIONS = tags_of(
    (
        "AcquisitionDeviceProcessingDescription",
        "AcquisitionProtocolDescription",
        "ContrastBolusAgent",
        "DerivationDescription",
        "PerformedProcedureStepDescription",
        "ProtocolName",
        "RequestedProcedureDescription",
        "SeriesDescription",
        "StudyDescription",
        "AcquisitionProtocolName",
        "ReconstructionDescription",
        "SegmentDescription",
        "SegmentLabel",
    )
)
