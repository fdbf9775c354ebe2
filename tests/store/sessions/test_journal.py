"""app/store/sessions/journal.py: each session's lines form one chain, also when several are saved at once."""

import asyncio
from dataclasses import replace

import pytest

from app.domain.evidence.chain import Line, Linked, broken_at
from app.domain.session.machine import Change, Source
from app.domain.session.states.journal import JournalKind
from app.domain.units.ids import SessionId
from app.store.db.database import Database
from app.store.sessions import journal, payment_sessions
from tests.store.rows import NOW, SEALER, SECOND, a_session, provisioned, record

pytestmark = pytest.mark.anyio


async def broken(database: Database, session_id: str) -> tuple[str | None, int]:
    """What is wrong with the chain as it is stored, and how many lines it has."""
    async with database.transaction() as connection:
        session = await payment_sessions.get(connection, SessionId(session_id))
        entries = await journal.of_session(connection, SessionId(session_id))
    assert session is not None
    lines = [
        Linked(
            Line(session_id=session_id, number=n, at=e.at, kind=e.kind, source=e.source, detail=e.detail),
            e.hash.hex(),
        )
        for n, e in enumerate(entries, start=1)
    ]
    return broken_at(lines, head=session.journal.hash, count=session.journal.lines), len(lines)


async def test_lines_of_several_sessions_saved_at_once_are_linked_each_to_its_own(database_url: str) -> None:
    async with provisioned(database_url) as database:
        for name, point in (("a", "101"), ("b", "102")):
            assert await record(database, a_session(name, charge_point=point))
        for turn in range(3):
            async with database.transaction() as connection:
                edits = []
                for name in ("a", "b"):
                    before = await payment_sessions.lock(connection, SessionId(f"ps_{name}"))
                    assert before is not None
                    change = Change(before)
                    for found in range(turn + (name == "b")):
                        change = change.note(
                            JournalKind.SEARCHED, Source.MONTA_API, found=found, why="ü \u2028"
                        )
                    edits.append((before, change))
                await payment_sessions.save_all(connection, edits, NOW + turn * SECOND, SEALER)
        assert await broken(database, "ps_a") == (None, 1 + 0 + 1 + 2)
        assert await broken(database, "ps_b") == (None, 1 + 1 + 2 + 3)


async def test_changes_at_the_same_time_wait_for_each_other_and_keep_one_chain(database_url: str) -> None:
    async with provisioned(database_url) as database:
        assert await record(database, a_session())

        async def append() -> None:
            async with database.transaction() as connection:
                before = await payment_sessions.lock(connection, SessionId("ps_a"))
                assert before is not None
                change = Change(before).note(JournalKind.SEARCHED, Source.MONTA_API, found=0)
                await payment_sessions.save(connection, before, change, NOW, SEALER)

        await asyncio.gather(*(append() for _ in range(8)))
        assert await broken(database, "ps_a") == (None, 9)


async def test_a_change_without_lines_and_a_line_without_a_change_keep_it(database_url: str) -> None:
    async with provisioned(database_url) as database:
        assert await record(database, a_session())
        async with database.transaction() as connection:
            before = await payment_sessions.lock(connection, SessionId("ps_a"))
            assert before is not None
            said = Change(before).note(JournalKind.READ_FAILED, Source.MONTA_API, why="500")
            saved = await payment_sessions.save(connection, before, said, NOW, SEALER)
            changed = Change(replace(saved, energy_limit_wh=1000))
            await payment_sessions.save(connection, saved, changed, NOW, SEALER)
        assert (saved.version, saved.journal.lines) == (before.version, 2)
        assert await broken(database, "ps_a") == (None, 2)
