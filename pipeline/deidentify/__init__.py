"""De-identification of DICOM objects: PS3.15 Annex E, Basic Application Level Confidentiality Profile."""
