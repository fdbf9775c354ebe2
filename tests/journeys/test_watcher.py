"""A watcher's places, its leases while a call hangs, and its heartbeat."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.flows import provision
from app.flows.provision import NewOperator
from app.simulator.quirks import Trouble
from app.watcher import Watcher
from tests.journeys.rig import MONTA_URL, Rig, open_rig

pytestmark = pytest.mark.anyio

HELD = "SELECT count(*) FROM operator_duties WHERE lease_until IS NOT NULL"
OVERDUE = "SELECT count(*) FROM operator_duties WHERE due_at <= :now"


async def value(rig: Rig, query: str) -> object:
    async with rig.tools.database.transaction() as connection:
        return (await connection.execute(text(query), {"now": rig.clock.now()})).scalar_one()


async def test_duties_that_hang_take_a_quarter_of_the_places_and_the_others_stay_due(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        rig.watchers = [Watcher(rig.tools, name="small", concurrency=8)]
        now = rig.clock.now()
        rig.monta.faults.between(now, now + timedelta(minutes=1), Trouble.SLOW, seconds=15)
        for n in range(6):
            await provision.add_operator(
                rig.tools,
                NewOperator(
                    name=f"Stadtwerk {n}",
                    monta_url=MONTA_URL,
                    client_id=f"client {n}",
                    client_secret="secret",
                    paying_team_id="1",
                ),
            )
        for _ in range(6):
            await rig.work()
        assert await value(rig, HELD) == 2
        assert await value(rig, OVERDUE) == 4
        await rig.pass_time(300)
        assert (await value(rig, HELD), await value(rig, OVERDUE)) == (0, 0)
