"""Triggers that keep evidence as it was written. Journal, captures, settlements, what a session began with."""

from sqlalchemy import DDL, Table, event

from app.store.tables.sessions import captures, journal, payment_sessions, settlements

REFUSE = """\
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of % is refused: its rows are evidence', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END
$$"""

KEEP_SETTLEMENT = """\
CREATE FUNCTION keep_settlement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF to_jsonb(NEW) - '{status,overdue_since,shares,captured_minor,attempts,retry_at}'::text[]
      IS DISTINCT FROM to_jsonb(OLD) - '{status,overdue_since,shares,captured_minor,attempts,retry_at}'::text[]
    OR (SELECT jsonb_agg(share - 'status' ORDER BY n)
          FROM jsonb_array_elements(NEW.shares) WITH ORDINALITY AS new_shares (share, n))
      IS DISTINCT FROM
       (SELECT jsonb_agg(share - 'status' ORDER BY n)
          FROM jsonb_array_elements(OLD.shares) WITH ORDINALITY AS old_shares (share, n))
  THEN
    RAISE EXCEPTION 'a settlement is decided once; only what the PSP did with it may change'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END
$$"""
"""What changes is the status of the whole and of each share, what was captured, and the marks of reports."""

_NEVER = "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"

TRIGGERS = {
    "journal": (f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal {_NEVER}",),
    "captures": (f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON captures {_NEVER}",),
    "settlements": (
        f"CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON settlements {_NEVER}",
        "CREATE TRIGGER decided_once BEFORE UPDATE ON settlements"
        " FOR EACH ROW EXECUTE FUNCTION keep_settlement()",
    ),
    "payment_sessions": (
        "CREATE TRIGGER recorded_once BEFORE UPDATE OF id, operator_id, terminal_id, charge_point_id, reference,"
        " request_hash, currency, created_at, tariff ON payment_sessions"
        f" {_NEVER}",
    ),
}
"""By table. Those of each statement refuse it also where it would meet no row."""


def _run(table: Table, when: str, statement: str) -> None:
    ddl = DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
    event.listen(table, when, ddl)


for _function in (REFUSE, KEEP_SETTLEMENT):
    # The first of these tables to be made.
    _run(payment_sessions, "before_create", _function)
for _table in (journal, captures, settlements, payment_sessions):
    for _trigger in TRIGGERS[_table.name]:
        _run(_table, "after_create", _trigger)
