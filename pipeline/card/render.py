"""The model card in Markdown, and all texts of a bundle besides its settings."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2

from pipeline.card.facts import FILE as FACTS
from pipeline.card.facts import CardFacts
from pipeline.card.markdown import plain
from pipeline.card.metadata import NOT_STATED, RESEARCH_USE, inference, metadata
from pipeline.card.schema import SCHEMA
from pipeline.card.statements import QUESTIONS
from pipeline.card.wording import failures, limitations, not_done, promise_spread
from pipeline.decide.card import decision_section
from pipeline.evaluate.ranking import AT_SPECIFICITY
from pipeline.model_record import ModelRecord

CARD = "docs/README.md"
METADATA = "configs/metadata.json"


def bundle_texts(record: ModelRecord, facts: CardFacts) -> dict[str, str]:
    """File name to text, for `models.bundle.write_bundle`."""
    return {
        METADATA: _json(metadata(record, facts)),
        "configs/schema.json": _json(SCHEMA),
        "configs/inference.json": _json(inference(record)),
        CARD: model_card(record, facts),
        FACTS: facts.to_json(),
    }


def model_card(record: ModelRecord, facts: CardFacts) -> str:
    """The model card: fields after CLAIM and TRIPOD+AI, filled from the run; those that it cannot know are named."""
    text = files("pipeline.card").joinpath("templates/model_card.md").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": plain, "figure": figure, "share": share}
    return environment.from_string(text).render(
        record=record,
        config=record.config,
        facts=facts,
        metrics=facts.metrics,
        stated=record.config.card,
        questions=QUESTIONS,
        not_stated=NOT_STATED,
        research_use=RESEARCH_USE,
        decision=decision_section(record),
        spread=promise_spread(record),
        failures=failures(record, facts.metrics),
        limitations=limitations(record, facts),
        not_done=not_done(record, facts),
        at_specificity=AT_SPECIFICITY,
        flattering="source" not in record.measured_on or record.config.strategy != "auto",
    )


def figure(metric: Mapping[str, Any], digits: int = 3) -> str:
    """A number with its 95 % interval, or why it is missing."""
    if metric["value"] is None:
        return f"not computed ({plain(metric['reason'])})"
    value = f"{metric['value']:.{digits}f}"
    if metric["low"] is None:
        return f"{value} (no interval)"
    return f"{value} ({metric['low']:.{digits}f} to {metric['high']:.{digits}f})"


def share(part: int, whole: int) -> str:
    """A count as a share of another, in per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"
