"""Self-supervised objectives: learning features from scans without labels."""
