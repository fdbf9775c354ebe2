"""Tests of app/store/sessions/session_filter.

No list or search of sessions reads a whole table, whatever the parameters: PostgreSQL's own plans say so.
"""

from typing import Any

import asyncpg
import pytest
from sqlalchemy import select

from app.domain.session.payment_session import Status
from app.domain.session.settlement import SettlementStatus
from app.store import session_states
from app.store.db.connection import Connection
from app.store.db.statements import compiled
from app.store.session_states import _rows_of, _states, _states_of
from app.store.sessions import payment_facts, payment_sessions
from app.store.sessions.payment_sessions import _found, one_query
from app.store.sessions.session_filter import CardTokens, SessionFilter, shape_of
from app.store.tables import operators
from tests.postgres import as_owner
from tests.store.rows import NOW, OP_ONE, TRM_ONE, a_session, provisioned, record

pytestmark = pytest.mark.anyio

COUNT = 6_000
"""Sessions: enough for PostgreSQL to prefer an index wherever there is one."""
FILTERS = (
    SessionFilter(),
    SessionFilter(operator_id=OP_ONE),
    SessionFilter(terminal_id=TRM_ONE),
    SessionFilter(operator_id=OP_ONE, charge_point_id="101"),
    SessionFilter(charge_point_id="101"),
    SessionFilter(charge_id="77"),
    SessionFilter(operator_id=OP_ONE, charge_ids=("77", "78")),
    SessionFilter(reference="A-77"),
    SessionFilter(terminal_id=TRM_ONE, reference="A-77"),
    SessionFilter(terminal_id=TRM_ONE, hold_reference="A-77"),
    SessionFilter(display_reference="K7QM-4TXP"),
    SessionFilter(any_id="A-77"),
    SessionFilter(operator_id=OP_ONE, display_reference="K7QM-4TXP"),
    SessionFilter(operator_id=OP_ONE, any_id="A-77"),
    SessionFilter(card_last4="4242"),
    SessionFilter(operator_id=OP_ONE, card_last4="4242", created_from=NOW, created_before=NOW),
    SessionFilter(terminal_id=TRM_ONE, card=CardTokens(fingerprint="f", account_reference="a")),
    SessionFilter(operator_id=OP_ONE, charge_point_id="101", occupying=True),
    SessionFilter(active=True),
    SessionFilter(operator_id=OP_ONE, terminal_id=TRM_ONE, open_for_terminal=True),
    SessionFilter(needs_attention=True),
    SessionFilter(needs_attention=False),
    SessionFilter(created_from=NOW, created_before=NOW),
    SessionFilter(operator_id=OP_ONE, created_from=NOW),
    *(SessionFilter(status=status) for status in Status),
    *(SessionFilter(settlement_status=status) for status in SettlementStatus),
)

_FILL = """
INSERT INTO payment_sessions
SELECT (jsonb_populate_record(s, jsonb_build_object(
         'id', 'ps_' || n, 'reference', 'A-' || n, 'charge_id', n::text, 'charge_point_id', (n % 200)::text,
         'display_reference', 'D-' || n, 'card_last4', lpad((n % 5000)::text, 4, '0'),
         'card_fingerprint', 'card-' || n % 9000, 'created_at', s.created_at - n * interval '1 minute',
         'status', CASE WHEN n < 40 THEN 'charging' WHEN n % 50 = 0 THEN 'not_started' ELSE 'completed' END,
         'occupies_charge_point', false, 'needs_attention', n % 700 = 0, 'due_at', null))).*
  FROM payment_sessions s, generate_series(1, $1::int) n WHERE s.id = 'ps_first'
"""
_HOLDS = """
INSERT INTO holds (operator_id, terminal_id, reference, session_id, amount_minor, recorded_at)
SELECT operator_id, terminal_id, reference, id, authorized_minor, created_at
  FROM payment_sessions WHERE id <> 'ps_first'
"""
_SETTLED = """
INSERT INTO settlements (session_id, operator_id, action, authorized_minor, to_capture_minor, to_release_minor,
                         shortfall_minor, energy_wh, decided_at, deadline, session_date, status, report_due_at)
SELECT id, operator_id, 'capture', authorized_minor, authorized_minor, 0, 0, 1000, now(), now(), now(),
       CASE WHEN id LIKE '%77' THEN 'due' WHEN id LIKE '%999' THEN 'failed' ELSE 'confirmed' END, now()
  FROM payment_sessions WHERE status = 'completed'
"""


async def plan_of(connection: Connection, statement: Any, params: dict[str, Any]) -> str:
    """The plan for any values of the parameters, as a connection uses it after a few executions."""
    known = compiled(statement, params)
    await connection.raw.execute(f"PREPARE probe AS {known.sql}")
    values = f"({', '.join(['NULL'] * len(known.constants))})" if known.constants else ""
    lines = [row[0] for row in await connection.raw.fetch(f"EXPLAIN EXECUTE probe{values}")]
    await connection.raw.execute("DEALLOCATE probe")
    return "\n".join(lines)


def reads_a_whole_table(plan: str) -> bool:
    tables = ("payment_sessions", "settlements", "holds")
    return any(f"Seq Scan on {table}" in plan for table in tables)


async def test_every_list_and_search_uses_an_index(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await record(database, a_session("first"))
        owner = await asyncpg.connect(as_owner(database_url))
        try:
            await owner.execute(_FILL, COUNT)
            await owner.execute(f"{_HOLDS};{_SETTLED};ANALYZE")
        finally:
            await owner.close()
        async with database.read() as connection:
            await connection.execute(select(operators.c.id))  # from here on it sees every operator's rows
            await connection.raw.execute("SET plan_cache_mode = force_generic_plan")
            whole: list[str] = []
            for wanted in FILTERS:
                shape, given = shape_of(wanted)
                keyset = {"before_at": NOW, "before_id": "ps_1"}
                for statement, params in (
                    (_found(shape, False, 51), given),
                    (_found(shape, True, 201), given | keyset),
                    (_states(shape, False, 51), given),
                    (_states(shape, True, 201), given | keyset),
                    (one_query(shape), given | {"session": "ps_1"}),
                ):
                    plan = await plan_of(connection, statement, params)
                    if reads_a_whole_table(plan):
                        whole.append(f"{wanted}\n{plan}")
            shape, _ = shape_of(SessionFilter(operator_id=OP_ONE, ids=("ps_1",)))
            for statement, names in (
                (payment_facts._LOAD, "operators terminals points references keys brands"),
                (payment_facts._LOAD_ONE, "operators terminals points references keys brands"),
                (session_states._VERSIONS, "sessions"),
                *((query(shape), "operator_id_is ids_is") for query in (_states_of, _rows_of)),
                (payment_sessions._RECORDED, "terminal wanted key"),
            ):
                plan = await plan_of(connection, statement, dict.fromkeys(names.split()))
                if reads_a_whole_table(plan):
                    whole.append(plan)
        assert not whole, "\n\n".join(whole)
