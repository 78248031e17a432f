"""Shortcuts: whether a model could know the hospital, or a marker at the border, instead of the disease."""
