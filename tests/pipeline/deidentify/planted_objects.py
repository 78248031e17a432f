"""Four linked objects with something planted in every kind of place."""

from pydicom import DataElement, Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag


def private_block(ds, plants):
    block = ds.private_block(0x0029, plants.word("MAKER "), create=True)
    block.add_new(0x10, "LO", plants.word())
    nested = Dataset()
    nested.PatientComments = plants.word()
    deeper = nested.private_block(0x0031, plants.word("MAKER "), create=True)
    deeper.add_new(0x01, "DA", plants.date())
    block.add_new(0x11, "SQ", Sequence([nested]))
    block.add_new(0x12, "UN", plants.word().encode())
    ds.add_new(0x00291099, "OB", plants.word("raw ").encode())


def overlay_and_curve(ds, plants):
    for tag, vr, value in (
        (0x60000010, "US", 8),
        (0x60000011, "US", 6),
        (0x60000022, "LO", plants.word("overlay ")),
        (0x60001500, "LO", plants.word("label ")),
        (0x60003000, "OW", plants.word("bits").encode()),
        (0x60004000, "LT", plants.word("comment ")),
        (0x50000022, "LO", plants.word("curve ")),
        (0x50003000, "OW", plants.word("points").encode()),
    ):
        ds.add_new(tag, vr, value)


def fill_ct(ds, plants, item, code):
    """Names, dates and the like at many depths of an image."""
    ds.OtherPatientNames, ds.PatientAddress = plants.name(), plants.word("1 Street ")
    ds.PatientComments, ds.ImageComments = plants.word("Geh\u00f6rt "), plants.word()
    ds.OperatorsName, ds.PatientAge, ds.AcquisitionDate = plants.name(), "093Y", plants.date()
    ds.AcquisitionDateTime, ds.ProtocolName = plants.moment(), plants.word("Head ")
    ds.EthnicGroup, ds.Occupation, ds.MilitaryRank = plants.short(), plants.short(), plants.word()
    ds.BodyPartExamined = plants.short().upper()
    ds.AnnotationGroupSequence = []
    ds.ReferencedImageSequence = [item(ReferencedSOPClassUID=ds.SOPClassUID, ReferencedSOPInstanceUID=plants.uid())]
    ds.ContributingEquipmentSequence = [
        item(
            Manufacturer="Maker",
            InstitutionName=plants.word(),
            StationName=plants.short(),
            OperatorsName=plants.name(),
            ContributionDescription=plants.word(),
            ContributionDateTime=plants.moment(),
            PurposeOfReferenceCodeSequence=[code("109101", "DCM", plants.word("Device of "))],
        )
    ]
    ds.RequestAttributesSequence = [
        item(RequestedProcedureID=plants.short(), ScheduledProcedureStepDescription=plants.word())
    ]
    ds.OriginalAttributesSequence = [
        item(
            ModifyingSystem=plants.word(),
            AttributeModificationDateTime=plants.moment(),
            ModifiedAttributesSequence=[item(PatientName=plants.name(), PatientID=plants.word())],
        )
    ]
    ds.ProcedureCodeSequence = [code(plants.short(), "99LOCAL", plants.word("Procedure for "))]
    ds.IconImageSequence = [item(Rows=1, Columns=1, BitsAllocated=8, PixelData=plants.word("icon").encode())]
    ds.DigitalSignaturesSequence = [item(CertificateOfSigner=plants.word().encode())]
    ds.EncryptedAttributesSequence = [item(EncryptedContent=plants.word().encode())]
    ds.add_new(0x00091002, "LO", plants.word("orphan "))
    ds.add_new(0x00080FFE, "LO", plants.word("unknown "))
    ds.add_new(0x00104001, "UN", plants.word("unknown ").encode())
    ds.add_new(0x00284000, "UN", plants.word("unread ").encode())
    ds.add_new(0x00101040, "UN", plants.word("street ").encode())
    ds[Tag(0x00180050)] = DataElement(Tag(0x00180050), "LO", plants.word("thick "))
    ds.StructuredDisplayTextBoxSequence = [item(UnformattedTextValue=plants.word())]
    ds.GraphicAnnotationSequence = [item(TextObjectSequence=[item(UnformattedTextValue=plants.word())])]
    private_block(ds, plants)
    overlay_and_curve(ds, plants)
    ds.DataSetTrailingPadding = plants.word("padding ").encode()


def fill_sr(ds, plants, item, code, image):
    """A comprehensive SR about an image."""
    ds.CompletionFlag, ds.VerificationFlag, ds.ValueType = "COMPLETE", "VERIFIED", "CONTAINER"
    ds.ContinuityOfContent = "SEPARATE"
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.PerformedProcedureCodeSequence = []
    ds.ConceptNameCodeSequence = [code("126000", "DCM", "Imaging Measurement Report")]
    ds.VerifyingObserverSequence = [
        item(
            VerifyingOrganization=plants.word(),
            VerificationDateTime=plants.moment(),
            VerifyingObserverName=plants.name(),
            VerifyingObserverIdentificationCodeSequence=[code(plants.short(), "99STAFF", plants.word())],
        )
    ]
    link = item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
    ds.CurrentRequestedProcedureEvidenceSequence = [
        item(
            StudyInstanceUID=image.StudyInstanceUID,
            ReferencedSeriesSequence=[item(SeriesInstanceUID=image.SeriesInstanceUID, ReferencedSOPSequence=[link])],
        )
    ]
    about = {"RelationshipType": "CONTAINS"}
    names = {
        "TEXT": ("121106", "Comment"),
        "PNAME": ("121008", "Person Observer Name"),
        "DATETIME": ("121135", "Observation Date Time"),
        "UIDREF": ("112040", "Tracking Unique Identifier"),
        "CODE": ("121071", "Finding"),
        "NUM": ("112031", "Attenuation Coefficient"),
        "IMAGE": ("121112", "Source of Measurement"),
        "CONTAINER": ("121070", "Findings"),
    }
    contents = {
        "TEXT": {"TextValue": plants.word("Seen by ")},
        "PNAME": {"PersonName": plants.name()},
        "DATETIME": {"DateTime": plants.moment()},
        "UIDREF": {"UID": plants.uid()},
        "CODE": {"ConceptCodeSequence": [code(plants.short(), "99LOCAL", plants.word("Mass of "))]},
        "NUM": {
            "MeasuredValueSequence": [
                item(NumericValue="12.5", MeasurementUnitsCodeSequence=[code("mm", "UCUM", plants.word("mm of "))])
            ]
        },
        "IMAGE": {"ReferencedSOPSequence": [link]},
    }
    content = [
        item(**about, ValueType=kind, ConceptNameCodeSequence=[code(names[kind][0], "DCM", names[kind][1])], **values)
        for kind, values in contents.items()
    ]
    deeper = item(
        **about,
        ValueType="CONTAINER",
        ContinuityOfContent="SEPARATE",
        ConceptNameCodeSequence=[code("121070", "DCM", "Findings")],
        ContentSequence=[
            item(
                **about,
                ValueType="TEXT",
                ConceptNameCodeSequence=[code("121106", "DCM", "Comment")],
                TextValue=plants.word("Deep "),
            )
        ],
    )
    ds.ContentSequence = [*content, deeper]
