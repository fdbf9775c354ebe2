"""Tests of app/monta/client, app/flows/operator/sync and app/domain/session/plausibility.

A process is suspended, or waits, between its question to Monta and the answer: the facts in it are newer than the
question, and are believed as of when they came.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.simulator.config import Driver, PointConfig
from app.store.operators import jobs
from app.store.operators.jobs import Job
from tests.journeys.checks import ended, kinds, minor, the_charge
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

SUSPENDED_S = 600
WH = 6_000
QUICK_POINT = PointConfig(
    id=108,
    name="Quick",
    max_w=50_000,
    price_group_id=25,
    direct_current=True,
    meter_interval_s=10.0,
    driver=Driver(unplugs_after_wh=WH),
)
"""Gives within SUSPENDED_S more than it could have given before by any rating that is believed."""
CONFIG = replace(usual(), points=(*usual().points, QUICK_POINT))


async def suspend(rig: Rig) -> None:
    """Time passes for Monta and the charge, and nothing runs here: webhooks are not delivered."""
    until = rig.clock.now() + timedelta(seconds=SUSPENDED_S)
    rig.clock.set(until)
    await lead_webhooks_to(rig, "wh_nowhere")
    await rig.monta.run_until(until)
    await lead_webhooks_to(rig, rig.operator.webhook_path.rpartition("/")[2])


async def lead_webhooks_to(rig: Rig, endpoint_id: str) -> None:
    async with rig.context.database.transaction() as connection:
        changed = text("UPDATE operators SET webhook_endpoint_id = :id")
        await connection.execute(changed, {"id": endpoint_id})


async def disbelieved(rig: Rig, session: Json) -> list[object]:
    """Energies, in Wh, that were set aside as more than can have flowed."""
    left_out = [line for line in await rig.journal(session["id"]) if "reported_wh" in line["detail"]]
    return [line["detail"]["reported_wh"] for line in left_out if line["detail"]["reported_wh"] is not None]


async def test_F119_entries_of_montas_log_have_arrived_when_its_answer_came(database_url: str) -> None:
    async with open_rig(database_url, config=CONFIG) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(QUICK_POINT.id, 5000)
        await rig.pass_time(5)
        rig.line.meanwhile["GET /webhooks/entries"] = lambda: suspend(rig)
        async with rig.context.database.transaction() as connection:
            await jobs.make_due(connection, rig.operator.operator_id, Job.SYNC, rig.clock.now())
        await rig.work()
        assert not rig.line.meanwhile, "it was suspended with the question on its way"
        last = await ended(rig, session)
        assert (last["energy_wh"], last["needs_attention"]) == (WH, False)
        assert "charge_restarted" not in await kinds(rig, session["id"])
        assert not await disbelieved(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F119_a_record_has_arrived_when_its_answer_came(database_url: str) -> None:
    async with open_rig(database_url, config=CONFIG, public_url=None) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(QUICK_POINT.id, 5000)
        await rig.pass_time(2)
        rig.line.meanwhile[f"GET /charges/{the_charge(rig).id}"] = lambda: suspend(rig)
        await rig.pass_time(100)
        assert not rig.line.meanwhile, "it was suspended with the question on its way"
        last = await ended(rig, session)
        assert (last["energy_wh"], last["needs_attention"]) == (WH, False)
        assert "charge_restarted" not in await kinds(rig, session["id"])
        assert not await disbelieved(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0
