"""Options of `validate` that need reading."""

import argparse
from collections.abc import Sequence

from pipeline.errors import ConfigError


def class_share(text: str) -> tuple[str, float]:
    """Read `CLASS=SHARE`, such as `pneumonia=0.1`.

    Raises:
        ArgumentTypeError: If it is none, or the share is not above 0 and below 1.
    """
    name, _, share = text.rpartition("=")
    try:
        value = float(share)
    except ValueError:
        value = 0.0
    if not name or not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected CLASS=SHARE with a share above 0 and below 1")
    return name, value


def by_class(shares: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The shares by class.

    Raises:
        ConfigError: If a class is named twice.
    """
    found: dict[str, float] = {}
    for name, share in shares:
        if name in found:
            raise ConfigError(f"--prevalence: {name!r} is named twice; one run tells of one prevalence a class")
        found[name] = share
    return found
