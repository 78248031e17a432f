"""Tables of the model registry, in the catalogue's database. `locator_model` holds paths, and is the user's own."""

from typing import Any

import sqlalchemy as sa

REGISTRY = sa.MetaData()
DIGEST = sa.String(64)

model_table = sa.Table(
    "model",
    REGISTRY,
    sa.Column("digest", DIGEST, primary_key=True),
    sa.Column("parent", DIGEST, nullable=False),  # empty for none; it need not be in the registry
    sa.Column("task", sa.String(16), nullable=False),
    sa.Column("backbone", sa.Text, nullable=False),
    sa.Column("classes", sa.Text, nullable=False),  # JSON list
    sa.Column("created", sa.String(40), nullable=False),  # as the bundle says
    sa.Column("retired", sa.Boolean, nullable=False),
)

# What is approved for what: the primary key lets a slot have one bundle, whoever promotes at the same time.
slot_table = sa.Table(
    "model_slot",
    REGISTRY,
    sa.Column("slot", sa.String(64), primary_key=True),
    sa.Column("digest", DIGEST, sa.ForeignKey(model_table.c.digest), nullable=False, index=True),
)

place_table = sa.Table(
    "locator_model",
    REGISTRY,
    sa.Column("digest", DIGEST, sa.ForeignKey(model_table.c.digest), primary_key=True),
    sa.Column("folder", sa.Text, nullable=False),  # JSON, which keeps every byte of a path
)

measurement_table = sa.Table(
    "model_measurement",
    REGISTRY,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("digest", DIGEST, sa.ForeignKey(model_table.c.digest), nullable=False, index=True),
    sa.Column("at", sa.String(40), nullable=False),  # UTC, ISO 8601
    sa.Column("verb", sa.String(16), nullable=False),  # adapt or validate
    sa.Column("measured_on", sa.Text, nullable=False),
    sa.Column("scans", sa.Integer, nullable=False),
    sa.Column("patients", sa.Integer, nullable=False),
    sa.Column("auroc", sa.Float),  # macro; empty where it could not be computed
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
    sa.Column("sites", sa.Text, nullable=False),  # JSON list of SiteFigure
)

event_table = sa.Table(
    "model_event",
    REGISTRY,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("digest", DIGEST, sa.ForeignKey(model_table.c.digest), nullable=False, index=True),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("slot", sa.String(64), nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

# What happened stays: the database itself refuses to change or delete an event.
_SQLITE = """
CREATE TRIGGER model_event_no_{verb} BEFORE {verb} ON model_event
BEGIN SELECT RAISE(ABORT, 'model_event is append-only'); END
"""
_POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION model_event_append_only() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN RAISE EXCEPTION ''model_event is append-only''; END'
"""
_POSTGRES = """
CREATE TRIGGER model_event_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON model_event
FOR EACH STATEMENT EXECUTE FUNCTION model_event_append_only()
"""

_KEPT = {
    "sqlite": (_SQLITE.format(verb="UPDATE"), _SQLITE.format(verb="DELETE")),
    "postgresql": (_POSTGRES_FUNCTION, _POSTGRES),
}


def _keep_events(_table: Any, connection: sa.Connection, **_: Any) -> None:
    for statement in _KEPT.get(connection.dialect.name, ()):
        connection.exec_driver_sql(statement)


sa.event.listen(event_table, "after_create", _keep_events)
