"""Tests of app/flows/keep_delivery: deliveries that share a transaction, and what waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from app.api.http import requests
from app.domain.session.states.kept_readings import MOST_READINGS, Allowed
from app.flows import deliveries, keep_delivery
from tests.conftest import PATIENCE_S
from tests.journeys.deliveries import answered, as_monta_shows_it, deliver, entry, later
from tests.journeys.rig import Json, Rig, open_rig
from tests.postgres import run_as_owner

pytestmark = pytest.mark.anyio

POISON = (
    "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'a row that cannot be written'; END $$",
    "CREATE TRIGGER poison BEFORE INSERT ON deliveries FOR EACH ROW"
    " WHEN (NEW.charge_ids @> '{CHARGE}') EXECUTE FUNCTION poison()",
)
UNDO = ("DROP TRIGGER IF EXISTS poison ON deliveries", "DROP FUNCTION IF EXISTS poison")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both bounds are real time, which a busy machine exceeds: tests about them set their own. Pauses for other
    operators count as running transactions, beside which the first ones would share one."""
    monkeypatch.setattr(deliveries, "MOST_PAUSE_S", 0.0)
    monkeypatch.setattr(deliveries, "MOST_WAIT_S", PATIENCE_S)
    monkeypatch.setattr(keep_delivery, "LOCK_MS", round(1000 * PATIENCE_S))


@dataclass(frozen=True)
class Running:
    """A session whose charge runs within its plan, and the charge as Monta showed it last."""

    session: Json
    charge: Json


@asynccontextmanager
async def running(database_url: str, *points: int) -> AsyncIterator[tuple[Rig, list[Running]]]:
    """Sessions at these charge points; Monta sends no more webhooks by itself."""
    async with open_rig(database_url) as rig:
        sessions = [await rig.authorize(point, 5000) for point in points]
        await rig.pass_time(100)
        found = [Running(each, await as_monta_shows_it(rig, each["id"])) for each in sessions]
        rig.monta.outbox.config = None
        await rig.pass_time(2)
        for each in found:
            assert await deliver(rig, entry(rig, later(rig, each.charge, 0))) == 200
        await rig.pass_time(10)
        yield rig, found


@asynccontextmanager
async def locked(rig: Rig, table: str, each: Running) -> AsyncIterator[None]:
    """Keeps a session's row, or what is kept beside it, locked."""
    key = "id" if table == "payment_sessions" else "session_id"
    async with rig.context.database.transaction() as connection:
        query = text(f"SELECT 1 FROM {table} WHERE {key} = :session FOR UPDATE")
        assert (await connection.execute(query, {"session": each.session["id"]})).rowcount == 1
        yield


async def shown_wh(rig: Rig, each: Running) -> int:
    return int((await rig.session(each.session["id"]))["energy_wh"])


async def fill(rig: Rig, each: Running) -> None:
    """As if so many readings were kept beside a session that the next one is applied to it."""
    async with rig.context.database.transaction() as connection:
        full = text("UPDATE kept_readings SET count = :most WHERE session_id = :session")
        await connection.execute(full, {"most": MOST_READINGS, "session": each.session["id"]})


async def expect_no_rise(rig: Rig, each: Running) -> None:
    """As if a session's power were not known yet: each rise must be applied, also within the planned course."""
    place = Allowed._fields.index("step_wh")
    query = text(
        f"UPDATE kept_readings SET allowed = jsonb_set(allowed::jsonb, '{{{place}}}', '0')::text"
        " WHERE session_id = :session"
    )
    async with rig.context.database.transaction() as connection:
        await connection.execute(query, {"session": each.session["id"]})


async def kept_deliveries(rig: Rig) -> int:
    async with rig.context.database.read() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM deliveries"))).scalar_one())


async def waiting(rig: Rig) -> int:
    """How many of PostgreSQL's clients wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with rig.context.database.read() as connection:
        return int((await connection.execute(text(query))).scalar_one())


async def until_waiting(rig: Rig, count: int) -> None:
    """Waits until so many wait for a lock."""
    async with asyncio.timeout(PATIENCE_S):
        while await waiting(rig) < count:  # noqa: ASYNC110  PostgreSQL tells nobody
            await asyncio.sleep(0.01)


async def until_queued(rig: Rig) -> None:
    """Waits until deliveries wait for those that are being written."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(groups.keep.is_full for groups in rig.context.deliveries._groups.values()):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_delivery_that_cannot_be_kept_is_not_acknowledged_and_harms_no_other(
    database_url: str,
) -> None:
    async with running(database_url, 907, 106) as (rig, (one, other)):
        before, wh = await kept_deliveries(rig), await shown_wh(rig, one)
        bad = entry(rig, later(rig, other.charge, 10))
        good = [entry(rig, later(rig, one.charge, 10 * number)) for number in range(8)]
        try:
            await run_as_owner(
                database_url, *(each.replace("CHARGE", str(other.charge["id"])) for each in POISON)
            )
            async with locked(rig, "kept_readings", one):  # what follows the first ones shares a transaction
                sent = [asyncio.create_task(deliver(rig, told)) for told in [*good[:4], bad, *good[4:]]]
                await until_waiting(rig, deliveries.AT_ONCE)
            answers = await asyncio.gather(*sent)
        finally:
            await run_as_owner(database_url, *UNDO)
        assert answers.pop(4) >= 500, "it is not kept, so Monta must send it again"
        assert answers == [200] * 8
        assert await kept_deliveries(rig) == before + 8
        assert await shown_wh(rig, one) == wh + 70
        assert await deliver(rig, bad) == 200


async def test_no_stop_waits_for_a_batch_of_deliveries(database_url: str) -> None:
    async with running(database_url, 907, 106) as (rig, (one, other)):
        async with locked(rig, "kept_readings", one):
            batch = [
                asyncio.create_task(deliver(rig, entry(rig, later(rig, one.charge, 10 * n))))
                for n in range(6)
            ]
            await until_waiting(rig, deliveries.AT_ONCE)
            async with asyncio.timeout(PATIENCE_S):
                await rig.stop(other.session["id"])
            assert await waiting(rig), "the batch still waits for the locked row, or is tried again"
        assert set(await asyncio.gather(*batch)) <= {200, 503}


@pytest.mark.parametrize("make_applied", [fill, expect_no_rise])
async def test_a_reading_that_decides_does_not_wait_for_one_that_is_only_applied(
    database_url: str, make_applied: Callable[[Rig, Running], Awaitable[None]]
) -> None:
    async with running(database_url, 907, 106) as (rig, (one, other)):
        await make_applied(rig, one)
        async with locked(rig, "payment_sessions", one):
            filling = asyncio.create_task(deliver(rig, entry(rig, later(rig, one.charge, 10))))
            await until_waiting(rig, 1)
            more_than_planned = later(rig, other.charge, 10_000)
            paused = later(rig, other.charge, 10_010) | {"state": "paused"}
            going_on = later(
                rig, other.charge, 10_020
            )  # of a session of which every reading may decide something
            async with asyncio.timeout(PATIENCE_S):
                for told in (more_than_planned, paused, going_on):
                    assert await deliver(rig, entry(rig, told)) == 200
            assert not filling.done()
        assert await filling == 200


@pytest.mark.parametrize(("table", "state"), [("payment_sessions", "paused"), ("kept_readings", "charging")])
async def test_F120_a_row_that_another_transaction_has_locked_holds_up_no_other_delivery(
    database_url: str, table: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_delivery, "LOCK_MS", 20)
    async with running(database_url, 907, 106) as (rig, (one, other)):
        wh = await shown_wh(rig, one)
        async with locked(rig, table, one):
            told = [later(rig, one.charge, 10 * n) | {"state": state} for n in range(6)]
            held_up = [asyncio.create_task(answered(rig, entry(rig, each))) for each in told]
            refused = 0
            async with asyncio.timeout(PATIENCE_S):
                while refused < len(told) - deliveries.WAIT_AT_ONCE:
                    await asyncio.wait([task for task in held_up if not task.done()], timeout=0.02)
                    refused = sum(task.done() and task.result().status_code == 503 for task in held_up)
                free = later(rig, other.charge, 10) | {"state": state}
                assert await deliver(rig, entry(rig, free)) == 200
            assert sum(not task.done() for task in held_up) == deliveries.WAIT_AT_ONCE
        assert (
            sorted(answer.status_code for answer in await asyncio.gather(*held_up)) == [200] * 4 + [503] * 2
        )
        assert await shown_wh(rig, one) > wh


async def test_past_what_can_be_kept_in_time_deliveries_are_refused_and_nothing_of_them_is_kept(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "MOST_WAIT_S", 0.0)
    async with running(database_url, 907) as (rig, (one,)):
        before, wh = await kept_deliveries(rig), await shown_wh(rig, one)
        told = [entry(rig, later(rig, one.charge, 10 * number)) for number in range(5)]
        async with locked(rig, "kept_readings", one):
            first = [asyncio.create_task(answered(rig, each)) for each in told[:2]]
            await until_waiting(rig, deliveries.AT_ONCE)  # no third transaction begins
            first += [asyncio.create_task(answered(rig, each)) for each in told[2:4]]
            await until_queued(rig)
            async with asyncio.timeout(PATIENCE_S):
                refused = await answered(rig, told[4])
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
        taken: list[httpx.Response] = await asyncio.gather(*first)
        accepted = sum(answer.status_code == 200 for answer in taken)
        assert accepted >= deliveries.AT_ONCE
        assert await kept_deliveries(rig) == before + accepted
        assert await deliver(rig, told[4]) == 200, "sent again, it is kept"
        assert await shown_wh(rig, one) == wh + 40


async def test_a_delivery_that_takes_too_long_is_refused_and_kept_when_it_is_sent_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database_url, 907) as (rig, (one,)):
        before, wh = await kept_deliveries(rig), await shown_wh(rig, one)
        told = entry(rig, later(rig, one.charge, 10))
        async with locked(rig, "kept_readings", one):
            monkeypatch.setattr(requests, "WRITE_DEADLINE_S", 0.1)
            async with asyncio.timeout(PATIENCE_S):
                refused = await answered(rig, told)
            monkeypatch.undo()
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
        assert (await kept_deliveries(rig), await shown_wh(rig, one)) == (before, wh)
        assert await deliver(rig, told) == 200
        assert (await kept_deliveries(rig), await shown_wh(rig, one)) == (before + 1, wh + 10)


@pytest.mark.parametrize(("part", "state"), [("keep_beside", "charging"), ("apply_running", "paused")])
async def test_a_delivery_whose_transaction_conflicts_with_another_is_kept_all_the_same(
    database_url: str, monkeypatch: pytest.MonkeyPatch, part: str, state: str
) -> None:
    done, conflicts = getattr(keep_delivery, part), 0

    async def conflict_once(*given: Any, **named: Any) -> Any:
        nonlocal conflicts
        conflicts += 1
        if conflicts == 1:
            raise asyncpg.SerializationError("conflict")
        return await done(*given, **named)

    async with running(database_url, 907) as (rig, (one,)):
        before = await kept_deliveries(rig)
        monkeypatch.setattr(keep_delivery, part, conflict_once)
        assert await deliver(rig, entry(rig, later(rig, one.charge, 10) | {"state": state})) == 200
        assert conflicts == 2
        assert await kept_deliveries(rig) == before + 1


async def test_the_same_delivery_twice_at_once_is_acknowledged_only_when_it_is_kept(
    database_url: str,
) -> None:
    async with running(database_url, 907, 106) as (rig, (one, other)):
        before = await kept_deliveries(rig)
        await fill(rig, one)
        told = entry(rig, later(rig, one.charge, 10))
        async with locked(rig, "payment_sessions", one):
            same = [asyncio.create_task(deliver(rig, told)) for _ in range(4)]
            await until_waiting(rig, 1)
            assert await deliver(rig, entry(rig, later(rig, other.charge, 10))) == 200
            assert not any(task.done() for task in same), "the last of them have been in a batch by then"
        assert await asyncio.gather(*same) == [200] * 4
        assert await kept_deliveries(rig) == before + 2


async def test_a_repeated_delivery_is_known_and_kept_again_if_the_database_has_lost_it(
    database_url: str,
) -> None:
    async with running(database_url, 907) as (rig, (one,)):
        told, before = entry(rig, later(rig, one.charge, 10)), await kept_deliveries(rig)
        for _ in range(2):
            assert await deliver(rig, told) == 200
        assert await kept_deliveries(rig) == before + 1
        async with rig.context.database.transaction() as connection:
            await connection.execute(text("DELETE FROM deliveries"))
        assert await deliver(rig, told) == 200
        assert await kept_deliveries(rig) == 1
