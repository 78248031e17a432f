"""From a labels.csv and scans to split, prepared samples."""
