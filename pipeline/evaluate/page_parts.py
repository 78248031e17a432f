"""What every page gets beyond its own words: a list of contents, and names for its tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

FEWEST = 4  # headings from which there is a list of contents
PIECE = re.compile(r"<h(?P<level>[23])>(?P<title>.*?)</h[23]>|<table(?P<table>[^>]*)>|<div class=\"scroll", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's heading: its address in the page, and its title, escaped already."""

    name: str
    title: str


def with_contents(main: str) -> Markup:
    """A rendered page's main part behind a list of its sections.

    Each `<h2>` gets an address, each `<table>` the title of the heading above it as its caption (unseen, for screen
    readers), and each box that scrolls can be reached by the keyboard.

    Args:
        main: Rendered from our own templates, values escaped; so a heading in it is one of ours.
    """
    headings: list[Heading] = []
    pieces = list(_pieces(main, headings))
    if len(headings) < FEWEST:
        return Markup("".join(pieces))
    links = "".join(f'<li><a href="#{one.name}">{one.title}</a></li>' for one in headings)
    return Markup(f'<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>\n' + "".join(pieces))


def _pieces(main: str, headings: list[Heading]) -> Iterator[str]:
    at, title, names = 0, "", set[str]()
    for found in PIECE.finditer(main):
        yield main[at : found.start()]
        at = found.end()
        if found["level"] is None and found["table"] is None:
            yield '<div tabindex="0" class="scroll'
        elif found["level"] is None:
            yield f'<table{found["table"]}><caption class="unseen">{title}</caption>'
        else:
            title = re.sub(r"<[^>]*>", "", found["title"]).strip()
            name = _address(title, names)
            if found["level"] == "2":
                headings.append(Heading(name, title))
            yield f'<h{found["level"]} id="{name}">{found["title"]}</h{found["level"]}>'
    yield main[at:]


def _address(title: str, taken: set[str]) -> str:
    """A heading's own id: its letters and digits, and a number where another has the same."""
    words = "-".join(re.findall(r"[a-z0-9]+", re.sub(r"&[#\w]+;", " ", title.lower())))[:40].strip("-")
    name, n = f"part-{words}", 1
    while name in taken:
        n += 1
        name = f"part-{words}-{n}"
    taken.add(name)
    return name
