"""Tables of the catalogue. Only the two locator tables hold identity; they never leave the user's own database."""

import sqlalchemy as sa

METADATA = sa.MetaData()

series_table = sa.Table(
    "series",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),  # random, so it says nothing of whom it stands for
    sa.Column("key", sa.String(96), nullable=False, unique=True),  # content, and which of several it is
    sa.Column("content", sa.String(64), nullable=False),
    sa.Column("volume", sa.Integer, nullable=False),
    sa.Column("status", sa.String(16), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("format", sa.String(16), nullable=False),
    sa.Column("modality", sa.String(16), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("shape", sa.String(64), nullable=False),
    sa.Column("geometry", sa.String(16), nullable=False),
)

locator_table = sa.Table(
    "locator",
    METADATA,
    sa.Column("series_id", sa.String(32), sa.ForeignKey(series_table.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("series_uid", sa.Text, nullable=False, index=True),
    sa.Column("patient", sa.Text, nullable=False),
    sa.Column("first_file", sa.Text, nullable=False, index=True),
    sa.Column("files", sa.Text, nullable=False),  # JSON list of paths
)

file_table = sa.Table(
    "locator_file",
    METADATA,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),  # JSON of FileFacts
)
