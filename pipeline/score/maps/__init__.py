"""Heat-maps: what the model looked at, on the scan's own grid, as picture, NIfTI and DICOM."""
