"""The reference page lists exactly the reason codes there are."""

import re
from pathlib import Path

from pipeline.errors import Reason

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "reasons.md"


def test_page_lists_every_code_once():
    listed = re.findall(r"^\| `([A-Z_]+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(Reason)
