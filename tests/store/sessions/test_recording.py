"""Tests of app/store/sessions/recording: of sessions recorded together, those whose keys are free are recorded."""

from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.journal import JournalKind
from app.domain.units.ids import SessionId
from app.store.db.database import Database
from app.store.sessions import recording
from app.store.sessions.recording import NewPayment
from tests.store.rows import NOW, TRM_ONE, a_session, change, provisioned

pytestmark = pytest.mark.anyio


def new(session: PaymentSession, key: str | None = None) -> NewPayment:
    line = Change(session).note(JournalKind.PAYMENT_AUTHORIZED, Source.TERMINAL)
    return NewPayment(change=line, request_hash=b"same", idempotency_key=key)


async def recorded(database: Database, *payments: NewPayment) -> set[str]:
    async with database.single() as connection:
        return set(await recording.record(connection, payments))


async def rows(database: Database, query: str) -> list[Any]:
    async with database.read() as connection:
        return sorted((await connection.execute(text(query))).scalars())


async def test_of_many_at_once_those_with_free_keys_are_recorded_whole(database_url: str) -> None:  # F1, F5
    async with provisioned(database_url) as database:
        assert await recorded(database, new(a_session("a"), "K")) == {"ps_a"}
        taken = (
            new(a_session("b", reference="A-a", charge_point="102")),
            new(a_session("c", charge_point="102"), "K"),
            new(a_session("d")),
        )
        free = (new(a_session("e", charge_point="102"), "L"), new(a_session("f", charge_point="103")))
        assert await recorded(database, *taken, *free) == {"ps_e", "ps_f"}
        kept = ["ps_a", "ps_e", "ps_f"]
        assert await rows(database, "SELECT id FROM payment_sessions WHERE due_at = created_at") == kept
        assert await rows(database, "SELECT session_id FROM holds WHERE amount_minor = 2000") == kept
        assert (
            await rows(database, "SELECT session_id FROM journal WHERE kind = 'payment_authorized'") == kept
        )


async def test_a_reference_of_a_top_up_leaves_nothing_of_those_recorded_with_it(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await recorded(database, new(a_session("a")))
        async with database.single() as connection:
            await connection.raw.execute(
                "INSERT INTO holds (operator_id, terminal_id, reference, session_id, amount_minor, recorded_at)"
                " VALUES ($3, $1, 'TOP', 'ps_a', 100, $2)",
                TRM_ONE,
                NOW,
                a_session("a").operator_id,
            )
        top_up = new(a_session("b", reference="TOP", charge_point="102"))
        with pytest.raises(asyncpg.UniqueViolationError):
            await recorded(database, top_up, new(a_session("c", charge_point="103")))
        for table in ("payment_sessions WHERE id <> 'ps_a'", "journal WHERE session_id <> 'ps_a'"):
            assert await rows(database, f"SELECT count(*) FROM {table}") == [0]


async def test_a_recorded_session_can_be_changed_like_any_other(database_url: str) -> None:
    session = a_session("a")
    async with provisioned(database_url) as database:
        await recorded(database, new(session))
        changed = await change(database, session, replace(session, metadata={"lane": "1"}))
    assert (changed.id, changed.version) == (SessionId("ps_a"), 2)
