"""Results as DICOM structured reports in the study of the images that were scored."""
