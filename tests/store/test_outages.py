"""Outages are kept by what Monta shows and terminals say: begun once, ended once, pruned."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.charging.availability import Window
from app.domain.charging.charge_point import ChargePoint, ChargePointReport, ChargePointState
from app.domain.units.ids import ChargePointId
from app.store import outages
from app.store.db.database import Database
from app.store.operators import charge_points
from app.store.outages import Heartbeat
from tests.store.rows import NOW, OP_ONE, TRM_ONE, provisioned

pytestmark = pytest.mark.anyio
MINUTE = timedelta(minutes=1)
POINT = ChargePointId("101")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with provisioned(database_url) as found:
        yield found


async def seen(database: Database, state: str, minute: float, *, gone: bool = False) -> None:
    at = NOW + minute * MINUTE
    deleted_at = at if gone else None
    point = ChargePoint(
        id=POINT, state=ChargePointState(state), seen_at=at, updated_at=at, deleted_at=deleted_at
    )
    async with database.transaction() as connection:
        await charge_points.put(connection, OP_ONE, [point, replace(point, id=ChargePointId("unused"))])


async def reported(database: Database, state: str, minute: float) -> None:
    at = NOW + minute * MINUTE
    shown = ChargePoint(id=POINT, state=ChargePointState(state), seen_at=at, updated_at=at)
    report = ChargePointReport(
        id=POINT,
        shown=shown,
        reported_fields=frozenset({"state"}),
        updated_at=at,
        event_at=at,
        received_at=at,
    )
    async with database.transaction() as connection:
        await charge_points.apply(connection, OP_ONE, [report])


async def says(database: Database, state: str, minute: float) -> None:
    said = Heartbeat(
        terminal_id=TRM_ONE, operator_id=OP_ONE, state=state, message=None, at=NOW + minute * MINUTE
    )
    async with database.transaction() as connection:
        await outages.heard(connection, said)


async def kept(database: Database, subject: outages.Subject) -> list[tuple[str, float, float | None]]:
    """Cause, and the minutes of begin and end."""
    window = Window(start=NOW - timedelta(days=1), end=NOW + timedelta(days=1))
    async with database.read() as connection:
        found = (await outages.outages_within(connection, None, window)).get(subject, ())

    def minute(at: datetime) -> float:
        return (at - NOW) / MINUTE

    return [(o.cause, minute(o.began_at), minute(o.ended_at) if o.ended_at else None) for o in found]


async def test_a_charge_point_is_out_from_the_first_bad_state_to_the_first_good_one(
    database: Database,
) -> None:
    await seen(database, "available", 0)
    await reported(database, "error", 10)
    await seen(database, "error", 15)  # the same, read again
    await reported(database, "disconnected", 20)
    await reported(database, "other", 30)  # a state that we do not know is no outage
    await seen(database, "maintenance", 40)
    await seen(database, "available", 50, gone=True)
    mine = (OP_ONE, POINT, None)
    assert await kept(database, mine) == [
        ("error", 10, 20),
        ("disconnected", 20, 30),
        ("maintenance", 40, 50),
        ("deleted", 50, None),
    ]
    async with database.read() as connection:
        watched = await outages.points_watched(connection, OP_ONE, limit=10)
        assert {w.charge_point_id: w.known_since for w in watched}[POINT] == NOW
        assert await outages.count_out(connection, NOW) == (1, 0)


async def test_a_terminal_is_out_while_it_says_so_or_says_nothing(database: Database) -> None:
    await says(database, "online", 0)
    await says(database, "online", 5)
    await says(database, "online", 4)  # overtaken: it changes nothing
    await says(database, "online", 15)
    await says(database, "out_of_order", 16)
    await says(database, "out_of_order", 30)  # a silence within an outage is the same outage
    await says(database, "online", 31)
    mine = (OP_ONE, None, TRM_ONE)
    assert await kept(database, mine) == [("offline", 5, 15), ("out_of_order", 16, 31)]
    async with database.read() as connection:
        (watched,) = await outages.terminals_watched(connection, OP_ONE, limit=10)
        assert (watched.known_since, watched.reported_at) == (NOW, NOW + 31 * MINUTE)
        assert await outages.count_out(connection, NOW + 30 * MINUTE) == (0, 0)
        assert await outages.count_out(connection, NOW + 31 * MINUTE) == (0, 1)


async def test_old_outages_are_pruned_and_lasting_ones_stay(database: Database) -> None:
    for minute, state in enumerate(["error", "available", "error", "available", "error"]):
        await seen(database, state, minute)
    async with database.transaction() as connection:
        assert await outages.prune(connection, OP_ONE, NOW + 3 * MINUTE, limit=10) == 1
    assert await kept(database, (OP_ONE, POINT, None)) == [("error", 2, 3), ("error", 4, None)]
