"""Row level security: PostgreSQL's own check that a transaction touches the rows of its operator only."""

from sqlalchemy import DDL, event

from app.store.db.scope import EVERY, SETTING
from app.store.tables.base import metadata

OWNER_COLUMNS = {"operators": "id"}
"""Columns that name a row's operator where it is not `operator_id`."""
SHARED = frozenset(
    {"watchers", "console_sessions", "secret_keys", "evidence_keys", "alert_runs", "schema_compatibility"}
)
"""Tables without an operator. A console session is found by its token, and then its key names one."""


def protection(table: str) -> tuple[str, str]:
    """Returns the statements that protect a table's rows. From every role but its owner and superusers.

    A CASE, since PostgreSQL takes it for true of half the rows: an OR it takes for true of one in 200, and then sorts
    whole tables instead of reading the newest rows of an index.
    """
    mine, asked = OWNER_COLUMNS.get(table, "operator_id"), f"current_setting('{SETTING}', true)"
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY of_operator ON {table} USING (CASE {asked} WHEN '{EVERY}' THEN true ELSE {mine} = {asked} END)",
    )


def protect_all() -> None:
    """Makes `metadata.create_all` protect every table that has an operator."""
    for table in metadata.sorted_tables:
        if table.name not in SHARED:
            for statement in protection(table.name):
                event.listen(table, "after_create", DDL(statement))  # type: ignore[no-untyped-call]
