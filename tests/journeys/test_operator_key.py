"""Tests of app/flows/session/advance.

Statements of a charge carry the operator's key, by which a distributed PostgreSQL finds their rows.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.store.db.connection import Connection, Result
from app.store.db.statements import Statement
from app.store.tables import metadata
from tests.journeys.rig import Rig, energy_tariff, open_rig

pytestmark = pytest.mark.anyio

KEYED = {table.name for table in metadata.tables.values() if "operator_id" in table.c}
CARRIES = re.compile(
    r"\boperator_id = |\boperator_id, [\w.]+\) IN|\boperators\.id = |\bINSERT INTO \w+ \([^)]*\boperator_id\b"
)
WITHOUT = {
    r"^SELECT api_keys\.": "an API key is looked up before anything says whose it is",
    r"^SELECT min\(greatest\(": "these tests ask when something is due",
    r"^SELECT .* WHERE payment_sessions\.id = ANY \(\$3::TEXT\[\]\) ORDER BY payment_sessions\.id$": (
        "reads rows that the statement before it, which names the operator, has locked"
    ),
    r"^SELECT kept_readings\.session_id FROM kept_readings WHERE kept_readings\.session_id = ANY \(": (
        "locks what is kept beside sessions that the statement before it, which names the operator, has locked"
    ),
    r"^UPDATE payment_sessions SET due_at=": (
        "wakes sessions that the statement before it, which names the operator, has locked"
    ),
}
"""Statements without the key, by their SQL, and why that is right. On a distributed database they ask every node."""


@contextmanager
def statements_of(rig: Rig) -> Iterator[set[str]]:
    """Collects the SQL that is sent while the block lasts."""
    seen: set[str] = set()
    send = Connection.send

    async def noted(
        self: Connection, statement: Statement, values: list[list[object]], *, many: bool
    ) -> Result:
        seen.add(" ".join(statement.sql.split()))
        return await send(self, statement, values, many=many)

    Connection.send = noted  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Connection.send = send  # type: ignore[method-assign]


def without_key(statements: set[str]) -> set[str]:
    """Statements about tables of operators that name no operator."""
    return {
        sql
        for sql in statements
        if any(re.search(rf"\b{table}\b", sql) for table in KEYED) and not CARRIES.search(sql)
    }


async def test_every_statement_of_a_charge_carries_the_operators_key(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff())
        with statements_of(rig) as seen:
            session = await rig.authorize(106, 300)
            await rig.until(session["id"], "completed")
        assert len(seen) > 20
        found = without_key(seen)
        assert [sql for sql in found if not any(re.search(known, sql) for known in WITHOUT)] == []
        unused = [known for known in WITHOUT if not any(re.search(known, sql) for sql in found)]
        assert unused == [], "what is argued for no longer exists"
