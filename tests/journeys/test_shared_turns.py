"""Tests of app/flows/session/advance.

Sessions whose turns come together share one transaction, and none of them harms another.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy import insert, select, text

from app import claimed_work
from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.session import monta_calls
from app.domain.session.attention import AttentionCode
from app.domain.session.machine import Call, Change, SearchCharges, SendStart, SendStop, Source, Wait
from app.domain.session.payment_session import PaymentSession, StartOutcome, StopReason
from app.domain.session.states.journal import JournalKind
from app.domain.session.states.kept_readings import Newest
from app.domain.units.ids import ChargeId, OperatorId, SessionId
from app.flows import turns as turns_module
from app.flows.context import LeaseLost
from app.flows.session import advance
from app.flows.session.advance import take_turns, yield_session
from app.flows.turns import Advanced, Turn, Turns
from app.store import kept_readings
from app.store.db.connection import Connection, Result
from app.store.db.database import Database, RowLocked
from app.store.db.documents import to_document
from app.store.db.statements import Statement
from app.store.operators import operator_state
from app.store.sessions import inbox, leases, payment_sessions
from app.store.sessions.leases import Lease
from app.store.tables import inbox as inbox_table
from tests.conftest import PATIENCE_S
from tests.journeys.rig import Rig, open_rig

pytestmark = pytest.mark.anyio

POINTS = (101, 103, 105, 106)


async def claimed(rig: Rig, count: int = 3) -> list[Lease]:
    """Authorizes on `count` charge points and claims the sessions, in that order."""
    ids = [(await rig.authorize(point))["id"] for point in POINTS[:count]]
    now = rig.context.clock.now()
    async with rig.context.database.transaction() as connection:
        found = await leases.claim(
            connection, owner="test", now=now, until=now + timedelta(seconds=rig.context.lease_s), limit=count
        )
    return sorted(found, key=lambda lease: ids.index(lease.session_id))


class Counted(Database):
    """Counts the statements and transactions of another database."""

    def __init__(self, rig: Rig) -> None:
        self._under = rig.context.database
        self.statements = self.transactions = 0

    def transaction(
        self, *, urgent: bool = False, lock_ms: int | None = None
    ) -> AbstractAsyncContextManager[Connection]:
        return self._counted(urgent)

    @asynccontextmanager
    async def _counted(self, urgent: bool) -> AsyncIterator[Connection]:
        counted = self

        class Counting(Connection):
            async def send(self, statement: Statement, values: list[list[object]], *, many: bool) -> Result:
                counted.statements += 1
                return await super().send(statement, values, many=many)

        self.transactions += 1
        async with self._under._lend(Counting, urgent=urgent) as connection:
            yield connection


async def test_three_sessions_cost_as_many_statements_as_one(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        claims, counts = await claimed(rig, 4), []
        for some in (claims[:1], claims[1:]):
            database = Counted(rig)
            turns = [Turn(lease) for lease in some]
            await take_turns(replace(rig.context, database=database), turns)
            assert all(turn.advanced and isinstance(turn.advanced.step, SendStart) for turn in turns)
            counts.append((database.transactions, database.statements))
        assert counts[0] == counts[1]
        assert counts[0][0] == 1


async def test_F76_an_old_claim_beside_the_new_one_in_one_transaction_changes_nothing(
    database_url: str,
) -> None:
    """A process that was suspended for longer than its lease goes on with it, and has claimed the session again."""
    async with open_rig(database_url) as rig:
        (old,) = await claimed(rig, 1)
        await rig.clock.advance(rig.context.lease_s + 1)
        async with rig.context.database.transaction() as connection:
            now = rig.context.clock.now()
            (new,) = await leases.claim(
                connection, owner="test", now=now, until=now + timedelta(seconds=rig.context.lease_s), limit=1
            )
        assert (old.session_id, old.token) == (new.session_id, new.token - 1)

        def noted(change: Change) -> Change:
            return change.note(JournalKind.SEARCHED, Source.MONTA_API, found=0)

        turns = [Turn(lease, noted, decides=False) for lease in (old, new)]
        await take_turns(rig.context, turns)
        assert [turn.saved is not None for turn in turns] == [False, True]
        journal = await rig.journal(new.session_id)
        assert [line["kind"] for line in journal].count("searched") == 1
        with pytest.raises(LeaseLost):
            await Turns(partial(take_turns, rig.context)).commit(old, None, noted)  # type: ignore[arg-type]


async def test_F93_a_session_that_cannot_be_read_fails_its_own_turn_only(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        good, bad, other = await claimed(rig)
        async with rig.context.database.transaction() as connection:
            await connection.execute(
                text("UPDATE payment_sessions SET body = '{}' WHERE id = :id"), {"id": bad.session_id}
            )
        turns = [Turn(lease) for lease in (good, bad, other)]
        await take_turns(rig.context, turns)
        assert isinstance(turns[1].error, ValueError)
        assert [turn.advanced is not None for turn in turns] == [True, False, True]
        assert not turns[1].saved


async def test_F120_a_row_that_another_transaction_has_locked_holds_up_no_other_session(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        locked, free, other = await claimed(rig)
        async with rig.context.database.transaction() as connection:
            assert await payment_sessions.lock(connection, locked.session_id) is not None
            turns = [Turn(lease) for lease in (locked, free, other)]
            await take_turns(rig.context, turns)
            assert [turn.is_taken for turn in turns] == [False, True, True]
            together = Turns(partial(take_turns, rig.context))
            waiting = [asyncio.create_task(together.advance(lease)) for lease in (locked, free, other)]
            for task in waiting[1:]:
                await task
            assert not waiting[0].done()
        assert isinstance((await waiting[0]).step, SendStart)


async def test_F120_a_reading_that_is_being_kept_beside_a_session_holds_up_no_other(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        locked, free = await claimed(rig, 2)
        async with rig.context.database.transaction() as connection:
            row = (
                "INSERT INTO kept_readings"
                " (session_id, operator_id, charge_id, revision, newest, count, points)"
                " VALUES (:session, :operator, 'c', 0, :newest, 0, '')"
            )
            now = rig.clock.now()
            newest = Newest(now, now, now, now, 0, now, None, None)
            given = {"session": locked.session_id, "operator": locked.operator_id}
            await connection.execute(text(row), given | {"newest": to_document(newest)})
        async with rig.context.database.transaction() as connection:
            await kept_readings.lock_of(connection, [SessionId(locked.session_id)])
            turns = [Turn(locked), Turn(free)]
            await take_turns(rig.context, turns)
            assert [turn.is_taken for turn in turns] == [False, True]
        await take_turns(rig.context, turns[:1])
        assert turns[0].advanced is not None


async def test_F120_few_transactions_wait_for_locked_rows_and_stops_for_none_of_the_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "WAIT_AT_ONCE", 1)
    monkeypatch.setattr(turns_module, "AGAIN_S", 0.0)
    monkeypatch.setattr(turns_module, "TRIES", 3)
    waiting = Counter[bool]()
    most = Counter[bool]()

    async def take(turns: Sequence[Turn], *, for_rows: bool) -> None:
        waiting[turns[0].urgent] += for_rows
        most[turns[0].urgent] = max(most[turns[0].urgent], waiting[turns[0].urgent])
        await take_turns(rig.context, turns, for_rows=for_rows)
        waiting[turns[0].urgent] -= for_rows

    async with open_rig(database_url) as rig:
        claims = await claimed(rig)
        stop = replace(claims.pop(), for_stop=True)
        together = Turns(take)
        async with rig.context.database.transaction() as connection:
            for lease in (*claims, stop):
                assert await payment_sessions.lock(connection, lease.session_id) is not None
            advancing = [asyncio.create_task(together.advance(lease)) for lease in claims]
            with pytest.raises(RowLocked):
                await advancing[1]
            advancing.append(asyncio.create_task(together.advance(stop)))
            async with asyncio.timeout(PATIENCE_S):
                while not waiting[True]:  # noqa: ASYNC110  nothing else happens when it waits
                    await asyncio.sleep(0)
        assert isinstance((await advancing[0]).step, SendStart)
        assert isinstance((await advancing[2]).step, SendStart)
    assert most == {False: 1, True: 1}
    assert not any(together._waiting.values())


async def test_what_came_of_a_call_is_saved_also_when_nothing_can_be_decided(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    def refused(change: Change) -> Change:
        start = replace(change.session.start, outcome=StartOutcome.UNKNOWN)
        return change.to(replace(change.session, start=start))

    async with open_rig(database_url) as rig:
        called, first = await claimed(rig, 2)
        entry: dict[str, object] = {"operator_id": called.operator_id, "session_reference": called.session_id}
        entry |= {"received_at": rig.clock.now(), "dedupe_key": "news", "raw": {}}
        async with rig.context.database.transaction() as connection:
            await connection.execute(insert(inbox_table).values(entry))
        monkeypatch.setattr(advance, "decide", broken)
        turns = [Turn(called, refused), Turn(first)]
        await take_turns(rig.context, turns)
        assert [type(turn.error) for turn in turns] == [ZeroDivisionError] * 2
        assert [turn.saved is not None for turn in turns] == [True, False]
        async with rig.context.database.transaction() as connection:
            saved = await payment_sessions.get(connection, SessionId(called.session_id))
            applied = await connection.execute(select(inbox_table.c.applied_at))
        assert saved is not None
        assert saved.start.outcome is StartOutcome.UNKNOWN
        assert applied.scalar_one() is None, "the news are read again"


async def test_a_session_that_goes_on_keeps_its_claim_for_another_lease(database_url: str) -> None:
    until = text("SELECT lease_until FROM payment_sessions")
    async with open_rig(database_url) as rig:
        (lease,) = await claimed(rig, 1)
        await rig.clock.advance(5)
        await take_turns(rig.context, [turn := Turn(lease)])
        assert turn.advanced is not None
        assert isinstance(turn.advanced.step, SendStart)
        async with rig.context.database.read() as connection:
            left = (await connection.execute(until)).scalar_one() - rig.clock.now()
        assert left == timedelta(seconds=rig.context.lease_s)


async def test_a_start_may_be_sent_for_as_long_from_its_decision_on_however_long_the_commit_takes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was suspended in between would else send it after the quiet window, beside another one."""
    async with open_rig(database_url) as rig:
        (lease,) = await claimed(rig, 1)
        decided_at_s = rig.clock.monotonic()

        async def slow(*_: object) -> None:
            await rig.clock.advance(4)

        monkeypatch.setattr(advance, "learn", slow)
        await take_turns(rig.context, [turn := Turn(lease)])
        assert turn.advanced is not None
        assert turn.advanced.decided_at_s == decided_at_s == rig.clock.monotonic() - 4


async def test_a_transaction_that_conflicts_with_another_is_taken_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn's own, and the release of a session that has more to do: neither is the session's failure."""
    conflicts = 0

    async def conflict(*_: object, **__: object) -> bool:
        nonlocal conflicts
        conflicts += 1
        if conflicts % 2:
            raise asyncpg.SerializationError("conflict")
        return True

    async with open_rig(database_url) as rig:
        (lease,) = await claimed(rig, 1)
        monkeypatch.setattr(advance, "learn", conflict)
        await take_turns(rig.context, [turn := Turn(lease)])
        assert turn.advanced is not None
        monkeypatch.setattr(leases, "release", conflict)
        await yield_session(rig.context, lease)
    assert conflicts == 4


async def test_a_session_with_more_news_than_were_read_is_not_released(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the rest would wait until it is due again."""
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106)
        await rig.until(session["id"], "charging")
        now = rig.clock.now()
        entry = {"operator_id": rig.operator.operator_id, "session_reference": session["id"]}
        entry |= {"received_at": now, "dedupe_key": "news", "raw": {}}
        async with rig.context.database.transaction() as connection:
            await payment_sessions.wake(connection, SessionId(session["id"]), now)
            (lease,) = await leases.claim(
                connection, owner="test", now=now, until=now + timedelta(seconds=30), limit=1
            )
            await connection.execute(insert(inbox_table).values(entry))
        monkeypatch.setattr(inbox, "PENDING_LIMIT", 1)
        for released in (False, True):
            await take_turns(rig.context, [turn := Turn(lease)])
            assert turn.advanced is not None
            assert isinstance(turn.advanced.step, Wait)
            assert turn.advanced.released is released, "the second time there are none left"


async def test_a_session_that_adopted_its_charge_in_this_claim_is_due_again_soon(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What named only the charge found no session before. No readings are kept until then: they would put it off."""
    asked: list[str] = []

    def allowance_of(session: PaymentSession, wait: Wait, *_: object) -> tuple[None, Wait]:
        asked.append(session.id)
        return None, wait

    def accepted(change: Change) -> Change:
        now = rig.clock.now()
        shown = ChargeReport(id=ChargeId("77"), state=ChargeState.STARTING, seen_at=now, updated_at=now)
        return monta_calls.start_accepted(change, shown, rig.context.policy)

    async def claim() -> Lease:
        now = rig.clock.now()
        async with rig.context.database.transaction() as connection:
            (lease,) = await leases.claim(
                connection, owner="test", now=now, until=now + timedelta(seconds=30), limit=1
            )
        return lease

    monkeypatch.setattr(advance, "allowance_of", allowance_of)
    async with open_rig(database_url) as rig:
        await rig.authorize(106)
        lease = await claim()
        await take_turns(rig.context, [started := Turn(lease)])
        await take_turns(rig.context, [Turn(lease, accepted, started.advanced, decides=False)])
        await take_turns(rig.context, [adopted := Turn(lease, previous=started.advanced)])
        assert adopted.advanced is not None
        assert (adopted.advanced.adopted, adopted.advanced.released) == (True, True)
        assert not asked
        await rig.clock.advance(advance.LATE_NEWS.total_seconds())
        await take_turns(rig.context, [later := Turn(await claim())])
        assert later.advanced is not None
        assert (later.advanced.adopted, asked) == (False, [lease.session_id])


async def test_what_came_of_a_call_is_applied_once_also_where_the_session_goes_on_without_a_call() -> None:
    """A wait that does not release the session is followed by the next decision at once."""
    session: Any = SimpleNamespace(id="ps_1", charge=None, traceparent=None)
    steps: Iterator[tuple[Call | Wait, bool]] = iter(
        [(SearchCharges(), False), (Wait(None), False), (Wait(None), True)]
    )
    given: list[object] = []

    class Decisions:
        async def advance(self, lease: Lease, previous: object, outcome: object) -> Advanced:
            given.append(outcome)
            step, released = next(steps)
            return Advanced(step, session, released, adopted=False, decided_at_s=0.0, provider="")

    async def call(*_: object) -> object:
        return "what came of it"

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(claimed_work, "_call", call)
        patched.setattr(claimed_work, "_traced", lambda *_: nullcontext())
        decisions: Any = Decisions()
        await claimed_work.run_steps(cast(Any, None), decisions, Lease(SessionId("ps_1"), 1))
    assert given == [None, "what came of it", None]


async def test_a_turn_that_is_repeated_keeps_nothing_of_the_transaction_that_was_not_committed(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        (lease,) = await claimed(rig, 1)
        turn = Turn(lease)
        await take_turns(rig.context, [turn])
        turn.error = LeaseLost(lease.session_id)
        async with rig.context.database.transaction() as connection:
            assert await payment_sessions.lock(connection, lease.session_id) is not None
            await take_turns(rig.context, [turn])
            assert (turn.is_taken, turn.advanced) == (False, None), "its row is locked, it is another's turn"


async def test_turns_of_different_operators_share_no_transaction() -> None:
    """A transaction sees one operator's rows."""
    operators: list[set[str]] = []

    async def take(turns: Sequence[Turn], *, for_rows: bool) -> None:
        operators.append({turn.lease.operator_id for turn in turns})
        await asyncio.sleep(0)
        for turn in turns:
            turn.error = LeaseLost(turn.lease.session_id)

    together = Turns(take)
    claims = [Lease(SessionId(f"ps_{n}"), 1, OperatorId(f"op_{n % 2}")) for n in range(8)]
    await asyncio.gather(*map(together.advance, claims), return_exceptions=True)
    assert [len(each) for each in operators] == [1] * 4, "the first one's, then all others of its operator"


async def test_charge_points_are_learned_of_in_one_order_whatever_the_order_of_the_sessions(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their rows are locked then: transactions about the same ones must not wait for each other."""
    learned: list[str] = []

    async def learn(_connection: object, pairs: Sequence[tuple[PaymentSession, object]], _: object) -> None:
        learned.extend(before.charge_point_id for before, _ in pairs)

    monkeypatch.setattr(advance, "learn", learn)
    async with open_rig(database_url) as rig:
        for point in reversed(POINTS):
            await rig.authorize(point)
        now = rig.clock.now()
        async with rig.context.database.transaction() as connection:
            claims = await leases.claim(
                connection, owner="test", now=now, until=now + timedelta(seconds=30), limit=4
            )
        await take_turns(rig.context, [Turn(lease) for lease in sorted(claims, key=lambda c: c.session_id)])
    assert learned == [str(point) for point in POINTS]


async def test_a_session_with_more_steps_than_one_claim_has_is_due_again_and_repeats_none(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimed_work, "MAX_STEPS", 1)
    row = text("SELECT due_at, lease_owner FROM payment_sessions")
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106)
        (lease,), _ = await rig.watchers[0]._claim()
        await rig.watchers[0]._run_session(lease)
        async with rig.context.database.read() as connection:
            saved = await payment_sessions.get(connection, SessionId(lease.session_id))
            assert tuple((await connection.execute(row)).one()) == (rig.clock.now(), None)
        assert saved is not None
        assert saved.charge is not None, "what came of the last step is saved"
        monkeypatch.undo()
        await rig.until(session["id"], "charging")
        assert rig.calls("POST", "/charges") == 1


@pytest.mark.parametrize("together", [False, True])
async def test_a_charge_whose_id_is_another_sessions_is_set_aside_and_fails_no_turn_again_and_again(
    database_url: str, together: bool
) -> None:
    async with open_rig(database_url) as rig:
        claims = await claimed(rig, 2)
        turns = [Turn(lease) for lease in claims]
        await take_turns(rig.context, turns)

        def accepted(change: Change) -> Change:
            now = rig.clock.now()
            shown = ChargeReport(id=ChargeId("77"), state=ChargeState.STARTING, seen_at=now, updated_at=now)
            return monta_calls.start_accepted(change, shown, rig.context.policy)

        accepting = [Turn(turn.lease, accepted, turn.advanced) for turn in turns]
        for some in [accepting] if together else [accepting[:1], accepting[1:]]:
            await take_turns(rig.context, some)
        results = [turn.advanced for turn in accepting if turn.advanced is not None]
        charges = [each.session.charge and each.session.charge.id for each in results]
        assert sorted(map(str, charges)) == ["77", "None"]
        (other,) = [each for each in results if each.session.charge is None]
        assert [item.code for item in other.session.attention] == [AttentionCode.FOREIGN_CHARGE]
        assert isinstance(other.step, Wait), "the next search is planned"
        assert {line["kind"] for line in await rig.journal(other.session.id)} >= {"attention_needed"}


async def test_a_batch_that_the_database_refuses_is_repeated_session_by_session(database_url: str) -> None:
    def clash(change: Change) -> Change:
        """Makes a document that PostgreSQL refuses, so that the statement for all of them fails."""
        return change.to(replace(change.session, display_reference="\0"))

    async with open_rig(database_url) as rig:
        good, bad, other = await claimed(rig)
        together = Turns(partial(take_turns, rig.context))

        async def refused(lease: Lease) -> object:
            return await together.advance(lease, None, clash if lease is bad else None)

        results = await asyncio.gather(*map(refused, (other, bad, good)), return_exceptions=True)
        assert [isinstance(each, Exception) for each in results] == [False, True, False]


async def test_an_error_of_the_database_in_one_decision_ends_the_transaction_of_all(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing after it would be saved, so no turn may count as taken."""

    async def broken(connection: Connection, _: object) -> None:
        await connection.execute(text("SELECT 1 / 0"))

    async with open_rig(database_url) as rig:
        turns = [Turn(lease) for lease in await claimed(rig, 2)]
        monkeypatch.setattr(operator_state, "starts_held_since", broken)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await take_turns(rig.context, turns)
        assert not any(turn.is_taken for turn in turns)


async def test_a_batch_whose_commit_may_have_been_lost_is_not_repeated(database_url: str) -> None:
    taken: list[int] = []

    async def take(turns: Sequence[Turn], *, for_rows: bool) -> None:
        taken.append(len(turns))
        await take_turns(rig.context, turns, for_rows=for_rows)
        raise ConnectionResetError

    async with open_rig(database_url) as rig:
        together = Turns(take)
        advancing = [together.advance(lease) for lease in await claimed(rig)]
        results = await asyncio.gather(*advancing, return_exceptions=True)
    assert [type(each) for each in results] == [ConnectionResetError] * 3
    assert taken == [1, 2]


async def test_turns_about_stops_wait_for_no_other_turns(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        slow, stop, _ = await claimed(rig)
        held = asyncio.Event()
        began: list[str] = []

        async def take(turns: Sequence[Turn], *, for_rows: bool) -> None:
            began.extend(turn.lease.session_id for turn in turns)
            if not turns[0].urgent:
                await held.wait()
            await take_turns(rig.context, turns, for_rows=for_rows)

        together = Turns(take)
        waiting = asyncio.create_task(together.advance(slow))
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            await together.advance(replace(stop, for_stop=True))
        assert began == [slow.session_id, stop.session_id]
        assert not waiting.done()
        held.set()
        await waiting


async def test_the_turn_after_a_stop_is_urgent_also_in_a_claim_for_something_else(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        (lease,) = await claimed(rig, 1)
        turn = Turn(lease)
        await take_turns(rig.context, [turn])
        assert turn.advanced is not None
        stopped = replace(turn.advanced, step=SendStop(StopReason.LIMIT_REACHED))
        assert not Turn(lease, previous=turn.advanced).urgent
        assert Turn(lease, previous=stopped).urgent


async def test_claims_and_intents_write_no_index_entry(database_url: str) -> None:
    figures = text(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'payment_sessions'"
    )

    async def counted(connection: Connection) -> tuple[int, int]:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        row = (await connection.execute(figures)).one()
        return (row[0], row[1])

    async with open_rig(database_url) as rig:
        for point in POINTS:
            await rig.authorize(point)
        async with rig.context.database.read() as connection:
            await counted(connection)
        async with rig.context.database.read() as connection:
            before = await counted(connection)
        now = rig.context.clock.now()
        async with rig.context.database.transaction() as connection:
            claims = await leases.claim(
                connection, owner="t", now=now, until=now + timedelta(seconds=30), limit=4
            )
        await take_turns(rig.context, [Turn(lease) for lease in claims])
        async with rig.context.database.read() as connection:
            await counted(connection)
        async with rig.context.database.read() as connection:
            after = await counted(connection)
        updates, hot = after[0] - before[0], after[1] - before[1]
        assert updates == 2 * len(POINTS), "one UPDATE for the claim, one for the intent with its lease"
        assert hot >= updates * 3 // 4
