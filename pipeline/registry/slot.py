"""Names of what a bundle is approved for."""

PREFIX = "approved:"


def is_slot(bundle: str) -> bool:
    """Whether a bundle is named by what it is approved for, as in `approved:default`."""
    return bundle.startswith(PREFIX)
