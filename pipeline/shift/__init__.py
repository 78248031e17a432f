"""How far incoming scans lie from reference scans: tests, sizes, kind of shift, and what it costs in accuracy."""
