"""app/store/tables/immutable.py: PostgreSQL refuses to change or delete evidence, whoever asks."""

from dataclasses import replace

import asyncpg
import pytest
from sqlalchemy import text

from app.domain.session.settlement import HoldShare, SettlementStatus
from app.store.db.database import Database
from app.store.sessions import payment_sessions
from app.store.sessions.settlements import Capture, add_capture
from app.store.tables import captures, journal, metadata, settlements
from tests.postgres import as_superuser
from tests.store.rows import NOW, SECOND, a_session, change, provisioned, record, settled

pytestmark = pytest.mark.anyio

REPORTED = {"status", "overdue_since", "captured_minor", "attempts", "retry_at"}
"""All of a settlement that may change, with the shares' own status."""
OTHER = {
    "TEXT": "'other'",
    "BIGINT": "815",
    "DATETIME": "now()",
    "JSONB": "'[{\"other\": 1}]'",
    "BOOLEAN": "false",
    "BLOB": "'\\x00'",
}


def evidence() -> list[str]:
    """Statements that would change one column, delete rows, or empty a table."""
    recorded = "id operator_id terminal_id charge_point_id reference request_hash currency created_at tariff"
    columns = [c for table in (journal, captures, settlements) for c in table.c if c.name not in REPORTED]
    columns += [metadata.tables["payment_sessions"].c[name] for name in recorded.split()]
    found = [f"UPDATE {c.table.name} SET {c.name} = {OTHER[str(c.type)]}" for c in columns if c.name != "id"]
    for name in ("journal", "captures", "settlements"):
        found += [f"DELETE FROM {name}", f"TRUNCATE {name}"]
    return [*found, "TRUNCATE payment_sessions CASCADE", "UPDATE payment_sessions SET id = 'other'"]


async def with_evidence(database: Database) -> None:
    session = a_session()
    assert await record(database, session)
    share = HoldShare(reference="A-a", amount_minor=2000, to_capture_minor=500, to_release_minor=1500)
    ended = settled(session, 500)
    assert ended.settlement is not None
    ended = replace(ended, settlement=replace(ended.settlement, shares=(share,)))
    await change(database, session, ended)
    async with database.transaction() as connection:
        report = Capture(outcome="captured", amount_minor=500, reference="C-1", reported_at=NOW)
        assert await add_capture(connection, session, report) is None


async def test_every_statement_that_would_change_evidence_is_refused(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await with_evidence(database)
        statements = evidence()
        superuser = await asyncpg.connect(as_superuser(database_url))
        for statement in statements:
            with pytest.raises(asyncpg.RestrictViolationError):
                await superuser.execute(statement)
            with pytest.raises((asyncpg.RestrictViolationError, asyncpg.InsufficientPrivilegeError)):
                async with database.transaction() as connection:
                    await connection.execute(text(statement))
        await superuser.close()
    assert len(statements) > 30


RIGHTS = {"journal": ("UPDATE", "DELETE"), "captures": ("UPDATE", "DELETE"), "settlements": ("DELETE",)}


async def test_the_services_user_has_no_right_to_change_or_delete_evidence(database_url: str) -> None:
    async with provisioned(database_url) as database:
        for table, rights in RIGHTS.items():
            for right, has in (("INSERT", True), ("SELECT", True), *((each, False) for each in rights)):
                async with database.transaction() as connection:
                    query = text(f"SELECT has_table_privilege('{table}', '{right}')")
                    assert (await connection.execute(query)).scalar_one() is has, f"{right} {table}"


async def test_a_share_may_be_reported_but_not_changed(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await with_evidence(database)
        async with database.transaction() as connection:
            before = await payment_sessions.lock(connection, a_session().id)
            assert before is not None
            assert before.settlement is not None
            reported = replace(
                before.settlement,
                status=SettlementStatus.CONFIRMED,
                shares=tuple(replace(s, status=SettlementStatus.CONFIRMED) for s in before.settlement.shares),
                overdue_since=NOW,
            )
        await change(database, before, replace(before, settlement=reported), NOW + SECOND)
        (share,) = reported.shares
        for other in ((), (share, share), (replace(share, to_capture_minor=0),)):
            with pytest.raises(asyncpg.RestrictViolationError):
                await change(
                    database, before, replace(before, settlement=replace(reported, shares=other)), NOW
                )
