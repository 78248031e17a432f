"""Tensors in, tensors out: backbones, heads, strategies, bundles. Knows no DICOM, no config file, no Prefect."""
