"""Networks that detectors train on normal slices, one a file."""
