"""What a run shows in Prefect's UI: tables of counts and figures, never identity."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact


def publish_classes(key: str, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A per-class table with intervals."""
    create_table_artifact(key=key, table=[dict(row) for row in rows], description=title)


def publish_counts(key: str, title: str, counts: Mapping[str, int]) -> None:
    """A short summary of how many series had which status."""
    lines = [f"| {status} | {count} |" for status, count in sorted(counts.items())]
    create_markdown_artifact(key=key, markdown="\n".join([f"# {title}", "", "| status | n |", "|---|---|", *lines]))


def publish_lines(key: str, title: str, lines: Sequence[str]) -> None:
    """A result in a few lines of text."""
    create_markdown_artifact(key=key, markdown="\n".join([f"# {title}", "", *(f"- {line}" for line in lines)]))


def publish_markdown(key: str, markdown: str) -> None:
    """A text with tables."""
    create_markdown_artifact(key=key, markdown=markdown)


def publish_link(key: str, url: str, title: str) -> None:
    """A link to a report on a web server."""
    create_link_artifact(key=key, link=url, link_text=title, description=title)
