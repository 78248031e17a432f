"""Text from outside inside Markdown: shown as it is written, neither markup nor HTML."""

import re

MARKUP = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w)|^[#+=-])")


def plain(text: object) -> str:
    """Text on one line in which nothing is markup: `&`, `<`, `>` as entities, a backslash before signs of Markdown."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKUP.sub(r"\\\1", line)
