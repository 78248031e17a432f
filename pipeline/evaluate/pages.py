"""Where reports come from: templates whose values are escaped, in one frame that lets nothing in or out.

A page's Content Security Policy allows the styles and `data:` pictures that it brings, and its own script by hash where
it has one; whatever else got into a page would not run, and nothing is fetched.
"""

import base64
import hashlib
from importlib.resources import files

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.evaluate.page_parts import with_contents

VIEWER = files("pipeline.evaluate").joinpath("templates/viewer.js").read_text(encoding="utf-8")
DISCLAIMER = "For research use only; not a medical device."


def pages(*packages: str) -> Environment:
    """The templates of some packages, and behind them those of this one.

    Values are escaped, and none may be missing.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, "pipeline.evaluate")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["with_contents"] = with_contents
    environment.globals |= {"viewer": Markup(VIEWER), "policy": policy, "disclaimer": DISCLAIMER}
    return environment


def policy(scripted: bool) -> str:
    """The page's Content Security Policy; with the viewer's script or with none."""
    digest = base64.b64encode(hashlib.sha256(VIEWER.encode()).digest()).decode()
    allowed = f"; script-src 'sha256-{digest}'" if scripted else ""
    rest = "base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'{allowed}; {rest}"
