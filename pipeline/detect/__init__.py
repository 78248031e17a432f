"""Anomaly detection from normal scans alone: fitting a detector, choosing one, and what a bundle holds of it."""
