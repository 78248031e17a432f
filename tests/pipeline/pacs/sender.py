"""A modality: sends images that anyone can work out again. A script: prints each one acknowledged."""

import sys

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

CT = "1.2.840.10008.5.1.4.1.1.2"


def image(series, k, rows=32):
    """Image k of a series; its pixels follow from both numbers."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, f"1.2.826.9.{series}.{k + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"1.2.826.8.{series}", f"1.2.826.7.{series}"
    ds.PatientName, ds.PatientID, ds.Modality = "Secret^Name", "SECRET-PATIENT", "CT"
    ds.Rows = ds.Columns = rows
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = np.random.default_rng((series, k)).integers(0, 4096, rows * rows, dtype=np.uint16).tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def associate(port, title="MODALITY", called="SCANSHIFT", **options):
    """An association for CT images, established or not."""
    entity = AE(title)
    entity.add_requested_context(CT, ExplicitVRLittleEndian)
    entity.add_requested_context("1.2.840.10008.1.1")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    return entity.associate("127.0.0.1", port, ae_title=called, **options)


def main(port, series, count, rows):
    """Send; the exit status says whether all were acknowledged."""
    association = associate(port)
    for k in range(count):
        if not association.is_established or association.send_c_store(image(series, k, rows)).get("Status") != 0:
            return 1
        sys.stdout.write(f"{k}\n")
        sys.stdout.flush()
    association.release()
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
