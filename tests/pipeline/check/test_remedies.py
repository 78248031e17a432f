import re
from pathlib import Path

from pipeline.check.remedies import REMEDIES, remedy

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "reasons.md"


def test_the_page_of_reasons_says_the_same():
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \|.*\| (.*?) \|$", page, flags=re.MULTILINE)
    assert {code: words.replace("`", "") for code, words in rows} == {code.value: REMEDIES[code] for code in REMEDIES}


def test_the_code_of_a_reason_decides():
    assert remedy("MISSING_SLICE: slice gap 5 mm at position 4, expected 2.5 mm") == "Send the missing slices."
    assert remedy("") == remedy("NO_SUCH_CODE: words") == ""
