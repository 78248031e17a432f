"""The model registry: which bundles there are, what was measured of them, and who approved which for what."""
