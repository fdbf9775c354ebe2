"""Tests of app/flows/ingest, app/flows/webhook/absorb, app/store/kept_readings.

Readings that decide nothing are kept beside their session: shown at once, put off silence, and are taken in by the
next decision.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.domain.session.states.kept_readings import ABSORBED_FROM, MOST_READINGS
from app.flows.deliveries import Lately
from app.flows.webhook import absorb
from app.store.db.database import is_locked
from app.store.sessions import payment_sessions
from tests.journeys.deliveries import as_monta_shows_it, deliver, entry, later
from tests.journeys.rig import Json, Rig, open_rig

pytestmark = pytest.mark.anyio


BEGUN = 1
"""Readings that are kept when a test begins."""


async def rows(rig: Rig, query: str) -> Sequence[Any]:
    async with rig.context.database.read() as connection:
        return (await connection.execute(text(query))).all()


async def kept(rig: Rig) -> tuple[bool, int]:
    """Whether more is allowed beside the only session, and how many readings are kept."""
    (row,) = await rows(rig, "SELECT allowed IS NOT NULL, count FROM kept_readings")
    return row[0], row[1]


async def begun(rig: Rig) -> tuple[Json, Json]:
    """A session whose charge runs at Monta, which sends no more webhooks by itself; and the charge as last shown."""
    session = await rig.authorize(907, 5000)
    await rig.pass_time(100)
    charge = await as_monta_shows_it(rig)
    rig.monta.outbox.config = None
    await rig.pass_time(2)
    assert await deliver(rig, entry(rig, later(rig, charge, 0))) == 200
    assert await kept(rig) == (True, BEGUN)
    return await rig.session(session["id"]), charge


async def test_a_reading_that_decides_nothing_is_shown_at_once_and_saved_by_the_next_decision(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session, charge = await begun(rig)
        (before,) = await rows(rig, "SELECT xmin::text, version FROM payment_sessions")
        for number in (1, 2, 3):
            await rig.pass_time(10)
            assert await deliver(rig, entry(rig, later(rig, charge, 30 * number))) == 200
        (after,) = await rows(rig, "SELECT xmin::text, version FROM payment_sessions")
        assert after == before, "the session's row is not touched"
        assert await kept(rig) == (True, BEGUN + 3)
        shown = await rig.session(session["id"])
        assert shown["energy_wh"] == session["energy_wh"] + 90
        assert shown["version"] == session["version"] + 3
        (listed,) = (await rig.call("GET", "/v1/ops/payment-sessions?limit=5", key=rig.ops.api_key)).json()[
            "data"
        ]
        assert (listed["energy_wh"], listed["version"]) == (shown["energy_wh"], shown["version"])
        await rig.stop(session["id"])
        (row,) = await rows(rig, "SELECT (body->'charge'->>'energy_wh')::int, version FROM payment_sessions")
        assert row[0] == shown["energy_wh"]
        assert row[1] > shown["version"]
        assert await kept(rig) == (False, 0)
        (line,) = await rows(rig, "SELECT detail FROM journal WHERE detail->>'readings' IS NOT NULL")
        assert (line[0]["readings"], line[0]["energy_wh"]) == (BEGUN + 3, shown["energy_wh"])


async def test_kept_readings_put_off_the_read_of_a_silent_charge_and_their_end_does_not(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session, charge = await begun(rig)
        reads = read_count(rig)
        for number in range(1, 7):
            await rig.pass_time(30)
            assert await deliver(rig, entry(rig, later(rig, charge, 90 * number))) == 200
        assert await kept(rig) == (True, BEGUN + 6), "no watcher had to look at it"
        assert read_count(rig) == reads
        await rig.pass_time(rig.context.policy.silent_after_s + 2)
        assert read_count(rig) > reads, "a silent charge is read"
        assert (await rig.session(session["id"]))["energy_wh"] >= session["energy_wh"] + 540


def read_count(rig: Rig) -> int:
    """Reads of the record so far."""
    return sum(1 for line in rig.monta.requests if line.method == "GET" and "/charges/" in line.path)


async def test_what_decides_something_is_applied_at_once_with_all_that_was_kept(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        _, charge = await begun(rig)
        await rig.pass_time(10)
        assert await deliver(rig, entry(rig, later(rig, charge, 30))) == 200
        await rig.pass_time(10)
        paused = later(rig, charge, 40) | {"state": "paused"}
        assert await deliver(rig, entry(rig, paused)) == 200
        (row,) = await rows(
            rig,
            "SELECT body->'charge'->'latest'->>'state', jsonb_array_length(body->'meter_history'->'points')"
            " FROM payment_sessions",
        )
        assert row[0] == "paused"
        assert row[1] >= 3
        assert (await kept(rig))[0] is False


async def test_an_end_after_kept_readings_wakes_the_session_though_it_was_due_for_silence_only(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session, charge = await begun(rig)
        await rig.pass_time(10)
        assert await deliver(rig, entry(rig, later(rig, charge, 30))) == 200
        stopped = later(rig, charge, 40) | {"state": "stopped", "stoppedAt": rig.clock.now().isoformat()}
        assert await deliver(rig, entry(rig, stopped)) == 200
        await rig.work()
        assert (await rig.session(session["id"]))["status"] in ("finishing", "completed")


async def test_no_more_than_a_bounded_number_of_readings_is_kept(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session, charge = await begun(rig)
        for number in range(1, MOST_READINGS + 1):
            await rig.pass_time(2)
            assert await deliver(rig, entry(rig, later(rig, charge, 2 * number))) == 200
        assert await kept(rig) == (True, 0), "the last one was applied with all of them"
        assert (await rig.session(session["id"]))["energy_wh"] == session["energy_wh"] + 2 * MOST_READINGS


@pytest.mark.parametrize("leased_for_s", [60, 0])
async def test_beside_a_session_that_a_watcher_works_on_no_more_readings_are_kept_until_it_has_decided(
    database_url: str, leased_for_s: int
) -> None:
    async with open_rig(database_url) as rig:
        _, charge = await begun(rig)
        await rig.pass_time(2)
        until = rig.clock.now() + timedelta(seconds=leased_for_s)
        async with rig.context.database.transaction() as connection:
            full = text("UPDATE kept_readings SET count = :most")
            await connection.execute(full, {"most": MOST_READINGS})
            await connection.execute(text("UPDATE payment_sessions SET lease_until = :at"), {"at": until})
        (before,) = await rows(rig, "SELECT due_at FROM payment_sessions")
        assert await deliver(rig, entry(rig, later(rig, charge, 10))) == 200
        assert await kept(rig) == (leased_for_s == 0, 0), "applied; what comes next is allowed if it is free"
        (after,) = await rows(rig, "SELECT due_at FROM payment_sessions")
        assert (after.due_at > before.due_at) is (leased_for_s == 0), "a watcher that works on it looks again"


async def test_a_watchers_turn_says_anew_what_readings_may_show(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session, _ = await begun(rig)
        async with rig.context.database.transaction() as connection:
            await connection.execute(text("UPDATE kept_readings SET allowed = NULL"))
            await payment_sessions.wake(connection, session["id"], rig.clock.now())
        await rig.work()
        assert await kept(rig) == (True, 0)
        (row,) = await rows(rig, "SELECT silence_due_at IS NOT NULL FROM payment_sessions")
        assert row[0], "due for silence only"


async def nearly_many(rig: Rig) -> tuple[Json, Json]:
    """As `begun`, with so many kept readings that one more is the first of many."""
    session, charge = await begun(rig)
    async with rig.context.database.transaction() as connection:
        query = text("UPDATE kept_readings SET count = :most")
        await connection.execute(query, {"most": ABSORBED_FROM - 1})
    await rig.pass_time(2)
    return session, charge


async def test_many_kept_readings_are_applied_beside_deliveries_before_they_are_as_many_as_may_be(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session, charge = await nearly_many(rig)
        filling = rig.context.deliveries.filling
        await absorb.absorb(rig.context, rig.operator.operator_id, [session["id"]])
        assert await kept(rig) == (True, ABSORBED_FROM - 1), "they are not many"
        assert await deliver(rig, entry(rig, later(rig, charge, 40))) == 200
        found = await filling.next(absorb.AT_ONCE)
        assert found == (rig.operator.operator_id, [session["id"]])
        shown = await rig.session(session["id"])
        await absorb.absorb(rig.context, *found)
        assert await kept(rig) == (True, 0), "more may be kept"
        after = await rig.session(session["id"])
        for name in ("status", "version", "energy_wh", "amount_used"):
            assert after[name] == shown[name]
        (row,) = await rows(rig, "SELECT (body->'charge'->>'energy_wh')::int, version FROM payment_sessions")
        assert tuple(row) == (session["energy_wh"] + 40, shown["version"])
        (line,) = await rows(rig, "SELECT detail FROM journal WHERE detail->>'readings' IS NOT NULL")
        assert line[0]["readings"] == ABSORBED_FROM
        await rig.pass_time(2)
        assert await deliver(rig, entry(rig, later(rig, charge, 50))) == 200
        assert await kept(rig) == (True, 1), "the next one decides nothing, either"


async def test_many_kept_readings_of_a_session_that_a_watcher_works_on_are_left_to_it(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session, charge = await nearly_many(rig)
        assert await deliver(rig, entry(rig, later(rig, charge, 40))) == 200
        async with rig.context.database.transaction() as connection:
            query = text("UPDATE payment_sessions SET lease_until = :until")
            await connection.execute(query, {"until": rig.clock.now() + timedelta(seconds=60)})
        await absorb.absorb(rig.context, rig.operator.operator_id, [session["id"]])
        assert await kept(rig) == (True, ABSORBED_FROM)


async def test_no_delivery_waits_while_many_kept_readings_wait_for_their_session(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absorb, "LOCK_MS", 50)
    async with open_rig(database_url) as rig:
        session, charge = await nearly_many(rig)
        assert await deliver(rig, entry(rig, later(rig, charge, 40))) == 200
        async with rig.context.database.transaction() as connection:
            await connection.execute(text("SELECT 1 FROM payment_sessions FOR UPDATE"))
            applying = asyncio.create_task(
                absorb.absorb(rig.context, rig.operator.operator_id, [session["id"]])
            )
            await rig.pass_time(2)
            assert await deliver(rig, entry(rig, later(rig, charge, 50))) == 200
            (error,) = await asyncio.gather(applying, return_exceptions=True)
            assert isinstance(error, Exception)
            assert is_locked(error)
        assert await kept(rig) == (True, ABSORBED_FROM + 1)


async def test_a_repeated_or_late_reading_changes_nothing(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session, charge = await begun(rig)
        await rig.pass_time(10)
        one = entry(rig, later(rig, charge, 30))
        await rig.pass_time(10)
        two = entry(rig, later(rig, charge, 60))
        for told in (two, one, two, one):
            assert await deliver(rig, told) == 200
        shown = await rig.session(session["id"])
        assert shown["energy_wh"] == session["energy_wh"] + 60


async def test_a_repeated_delivery_is_applied_once_also_by_a_process_that_does_not_remember_it(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        _, charge = await begun(rig)
        async with rig.context.database.transaction() as connection:
            await connection.execute(text(f"UPDATE kept_readings SET count = {MOST_READINGS}"))
        await rig.pass_time(10)
        applied = entry(rig, later(rig, charge, 30))
        assert await deliver(rig, applied) == 200
        assert await kept(rig) == (True, 0)
        await rig.pass_time(10)
        assert await deliver(rig, entry(rig, later(rig, charge, 60))) == 200
        assert await kept(rig) == (True, 1)
        rig.context.deliveries.lately = Lately()
        assert await deliver(rig, applied) == 200
        assert await kept(rig) == (True, 1), "applied again, it would take in what was kept since"


async def test_readings_of_one_delivery_are_kept_in_the_order_of_their_times(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        _, charge = await begun(rig)
        told = []
        for number in (1, 2, 3):
            await rig.pass_time(10)
            told.append(entry(rig, later(rig, charge, 30 * number)))
        assert await deliver(rig, *reversed(told)) == 200
        assert await kept(rig) == (True, BEGUN + 3)
