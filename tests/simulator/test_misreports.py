"""Tests of app/simulator/faults/misreports.

Wrong values in records: each misreport changes what it names, and nothing else of the charge.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.charging.charge import ChargeState
from app.domain.units.ids import ChargePointId
from app.simulator.faults.catalog import Misreport, PointFaults
from tests.simulator.rig import CONFIG, DC, Rig, a_rig

POINT = ChargePointId(str(DC))
pytestmark = pytest.mark.anyio


async def a_rig_that_says(misreport: Misreport, *, restarts_after_s: float | None = None) -> Rig:
    faults = PointFaults(misreport=misreport, restarts_after_s=restarts_after_s)
    points = tuple(replace(point, faults=faults) if point.id == int(DC) else point for point in CONFIG.points)
    return await a_rig(replace(CONFIG, points=points))


def moment(text: Any) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("offset_s", [-86_400.0, -121.0, 600.0])
async def test_a_wrong_clock_moves_every_time_of_the_record(offset_s: float) -> None:
    rig = await a_rig_that_says(Misreport(clock_offset_s=offset_s))
    shown = await rig.start(DC)
    (charge,) = rig.sim.charges()
    assert moment(shown["createdAt"]) == charge.created_at + timedelta(seconds=offset_s)
    assert moment(shown["updatedAt"]) == charge.updated_at + timedelta(seconds=offset_s)
    assert shown["completedAt"] is None


async def test_the_final_record_shows_the_lifetime_reading_and_a_price_to_match() -> None:
    rig = await a_rig_that_says(Misreport(lifetime_reading=True))
    shown = await rig.start(DC)
    await rig.pass_time(300)
    (charge,) = rig.sim.charges()
    assert (await rig.read(shown["id"]))["consumedKwh"] == Decimal(charge.metered_wh // 10) / 100
    rig.sim.unplug(POINT)
    await rig.pass_time(60)
    final = await rig.read(shown["id"])
    assert final["state"] == "completed"
    assert final["consumedKwh"] == Decimal((charge.start_meter_wh + charge.metered_wh) // 10) / 100
    assert charge.price is not None
    assert final["price"] > charge.price * 10


async def test_a_lifetime_reading_may_show_from_the_first_reading_on() -> None:
    rig = await a_rig_that_says(Misreport(lifetime_reading=True, lifetime_while_running=True))
    shown = await rig.start(DC)
    await rig.pass_time(120)
    (charge,) = rig.sim.charges()
    assert (await rig.read(shown["id"]))["consumedKwh"] * 1000 >= charge.start_meter_wh


async def test_the_final_price_and_the_currency_are_as_misreported() -> None:
    rig = await a_rig_that_says(Misreport(final_price=Decimal("-0.35"), currency="dkk"))
    shown = await rig.start(DC)
    assert shown["currency"]["identifier"] == "dkk"
    await rig.pass_time(120)
    assert (await rig.read(shown["id"]))["price"] > 0
    rig.sim.unplug(POINT)
    await rig.pass_time(60)
    assert (await rig.read(shown["id"]))["price"] == Decimal("-0.35")


async def test_a_state_word_stays_for_ever_once_it_is_shown() -> None:
    rig = await a_rig_that_says(Misreport(state_word="suspended_grid", state_word_after_s=60))
    shown = await rig.start(DC)
    assert shown["state"] == "starting"
    await rig.pass_time(120)
    rig.sim.unplug(POINT)
    await rig.pass_time(120)
    assert rig.sim.charges()[0].state is ChargeState.COMPLETED
    assert (await rig.read(shown["id"]))["state"] == "suspended_grid"


async def test_a_charge_that_is_gone_is_404_in_no_list_and_gives_no_energy() -> None:
    rig = await a_rig_that_says(Misreport(gone_after_s=90))
    shown = await rig.start(DC)
    await rig.pass_time(89)
    assert len(await rig.search()) == 1
    told = len(rig.sim.deliveries)
    await rig.pass_time(30)
    assert await rig.search() == []
    for path in (f"/charges/{shown['id']}", f"/charges/{shown['id']}/stop"):
        assert (await rig.http.get(path)).status_code == 404
    (charge,) = rig.sim.charges()
    assert charge.flowing is None
    assert len(rig.sim.deliveries) == told


@pytest.mark.parametrize("stopped_after_s", [None, 85.0], ids=["runs until then", "is stopped before"])
async def test_a_charge_that_is_gone_is_restarted_by_nobody(stopped_after_s: float | None) -> None:
    rig = await a_rig_that_says(Misreport(gone_after_s=90), restarts_after_s=10.0)
    await rig.start(DC)
    if stopped_after_s is not None:
        await rig.pass_time(stopped_after_s)
        rig.sim.stop_button(POINT)
    await rig.pass_time(90 - (stopped_after_s or 0) + 60)
    (charge,) = rig.sim.charges()
    assert charge.metered_wh
    assert (charge.restarts, charge.flowing, charge.state) == (0, None, ChargeState.COMPLETED)
