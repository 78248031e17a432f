"""Training, calibration and the adaptation that joins them."""
