"""Where the pages of an evaluation come from: templates whose values are escaped, and none of which may be missing."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def pages() -> Environment:
    """The templates of this package."""
    return Environment(
        loader=PackageLoader("pipeline.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
