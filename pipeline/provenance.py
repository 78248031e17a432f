"""Which software made a result."""

import platform
import sys
from importlib.metadata import version

PACKAGES = ("scanshift", "torch", "torchvision", "monai", "pydicom", "nibabel", "scikit-learn", "numpy", "prefect")


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that decide a result."""
    return {"python": sys.version.split()[0], "platform": platform.platform()} | {
        name: version(name) for name in PACKAGES
    }
