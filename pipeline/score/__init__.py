"""Scoring folders of scans with a bundle: resumable, one row per series."""
