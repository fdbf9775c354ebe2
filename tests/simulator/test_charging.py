"""app/simulator/site: From start to completed: states, energy, limits, prices, cable and release."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from app.domain.units.ids import ChargeId, ChargePointId
from app.simulator.config import Driver
from app.simulator.site.vehicles import VEHICLES
from tests.simulator.rig import AC, CONFIG, DC, IDLE, POINTS, a_rig

pytestmark = pytest.mark.anyio


async def test_a_charge_goes_through_its_states_and_completes_two_to_three_seconds_after_the_stop() -> None:
    rig = await a_rig()
    charge = await rig.start()
    assert charge["state"] == "starting"
    await rig.pass_time(4)
    assert (await rig.read(charge["id"]))["state"] == "charging"
    await rig.pass_time(600)
    assert (await rig.stop(charge["id"]))["state"] == "stopping"
    await rig.pass_time(3)
    stopped = await rig.read(charge["id"])
    assert stopped["state"] == "stopped"
    assert stopped["completedAt"] is None
    await rig.pass_time(3)
    completed = await rig.read(charge["id"])
    assert completed["state"] == "completed"
    gap = rig.sim.charge(ChargeId(str(charge["id"])))
    assert gap.completed_at is not None
    assert gap.stopped_at is not None
    assert timedelta(seconds=2) <= gap.completed_at - gap.stopped_at <= timedelta(seconds=3)
    assert completed["stopReason"] == "api"
    assert completed["releasedAt"] is None, "completed can come without released"


async def test_the_energy_is_the_integral_of_the_cars_curve() -> None:
    rig = await a_rig()
    charge = await rig.start(DC)
    await rig.pass_time(3 + 900)
    curve = VEHICLES["Volkswagen ID.3 58 kWh"].curve(300_000, direct_current=True)
    stored_wh, step_s = 0.2 * 58_000, 0.05
    for step in range(int(900 / step_s)):
        ramp = min(1.0, (step + 0.5) * step_s / 15)
        stored_wh += ramp * curve.power_at(stored_wh) * step_s / 3600
    assert rig.sim.delivered_wh(ChargeId(str(charge["id"]))) == pytest.approx(
        stored_wh - 0.2 * 58_000, rel=1e-4
    )
    assert rig.sim.power_w(ChargePointId(str(DC))) == pytest.approx(curve.power_at(stored_wh), rel=1e-3)


async def test_what_monta_reports_follows_the_meter_not_the_clock() -> None:
    rig = await a_rig()
    charge = await rig.start()
    await rig.pass_time(3 + 59)
    assert (await rig.read(charge["id"]))["consumedKwh"] == 0
    await rig.pass_time(1)
    first = (await rig.read(charge["id"]))["consumedKwh"]
    assert first == Decimal("0.17"), "57.5 s at full power of 11 kW, cut to two decimals"


async def test_a_meter_may_report_by_energy_instead_of_time() -> None:
    rig = await a_rig()
    charge = await rig.start(103)
    shown = set()
    for _ in range(100):
        await rig.pass_time(10)
        shown.add((await rig.read(charge["id"]))["consumedKwh"])
    assert {Decimal("0.5"), Decimal(1), Decimal("1.5"), Decimal(2)} <= shown
    assert all(value % Decimal("0.5") == 0 for value in shown)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [({"kwhLimit": 2.5}, "KwhLimitReached"), ({"priceLimit": 5.0}, "PriceLimitReached")],
)
async def test_a_limit_stops_the_charge_after_its_reaction_time(limit: dict[str, float], reason: str) -> None:
    rig = await a_rig()
    charge = await rig.start(AC, **limit)
    await rig.pass_time(7200)
    done = await rig.read(charge["id"])
    assert (done["state"], done["stopReason"]) == ("completed", reason)
    reached_wh = 2500 if "kwhLimit" in limit else 5.0 / 0.49 * 1000
    overshoot_wh = 11_000 * (2 + 3) / 3600
    assert float(done["consumedKwh"]) * 1000 == pytest.approx(reached_wh + overshoot_wh, abs=12)


async def test_a_state_of_charge_limit_stops_too() -> None:
    rig = await a_rig()
    charge = await rig.start(DC, socLimit=30, kwhLimit=400)
    await rig.pass_time(3600)
    done = await rig.read(charge["id"])
    assert done["stopReason"] == "SocLimitReached"
    assert done["soc"]["percentage"] == pytest.approx(30, abs=0.7)


async def test_the_price_is_exact_with_start_fee_and_minute_fee() -> None:
    rig = await a_rig()
    with_start, with_minutes = await rig.start(103), await rig.start(104, partnerExternalId="ps_2")
    await rig.pass_time(3 + 1800)
    for charge in (with_start, with_minutes):
        await rig.stop(charge["id"])
    await rig.pass_time(10)
    for charge, kwh_price, fee in ((with_start, "0.45", "0.35"), (with_minutes, "0.59", "1.5025")):
        done = await rig.read(charge["id"])
        energy = done["endMeterKwh"] - done["startMeterKwh"]
        expected = (Decimal(kwh_price) * energy + Decimal(fee)).quantize(Decimal("0.01"))
        assert done["price"] == expected
        assert done["cost"] not in {0, done["price"]}


async def test_with_an_idle_fee_completed_waits_for_the_cable_and_the_fee_runs_on() -> None:
    rig = await a_rig()
    charge = await rig.start(IDLE)
    await rig.pass_time(603)
    await rig.stop(charge["id"])
    await rig.pass_time(10)
    waiting = await rig.read(charge["id"])
    assert waiting["state"] == "releasing"
    await rig.pass_time(1800)
    rig.sim.unplug(ChargePointId(str(IDLE)))
    assert (await rig.read(charge["id"]))["state"] == "released"
    await rig.pass_time(3)
    done = await rig.read(charge["id"])
    assert done["state"] == "completed"
    assert done["price"] - waiting["price"] == pytest.approx(Decimal("2.01"), abs=Decimal("0.02"))
    assert done["releasedAt"] is not None


async def test_a_driver_who_unplugs_ends_the_charge() -> None:
    rig = await a_rig()
    charge = await rig.start()
    await rig.pass_time(600)
    rig.sim.unplug(ChargePointId(str(AC)))
    await rig.pass_time(3)
    done = await rig.read(charge["id"])
    assert (done["state"], done["stopReason"]) == ("completed", "EVDisconnected")
    assert done["releasedAt"] == done["stoppedAt"]


async def test_without_a_car_a_charge_stays_starting_until_one_is_plugged_in() -> None:
    rig = await a_rig()
    rig.sim.unplug(ChargePointId(str(AC)))
    charge = await rig.start()
    await rig.pass_time(3600)
    assert (await rig.read(charge["id"]))["state"] == "starting"
    rig.sim.plug_in(ChargePointId(str(AC)), "Tesla Model 3 LR", 50)
    await rig.pass_time(4)
    running = await rig.read(charge["id"])
    assert running["state"] == "charging"
    assert running["cablePluggedInAt"] > running["startedAt"]


async def test_a_start_may_time_out_with_price_zero_when_configured() -> None:
    rig = await a_rig(start_timeout_s=300.0)
    rig.sim.unplug(ChargePointId(str(AC)))
    charge = await rig.start()
    await rig.pass_time(310)
    done = await rig.read(charge["id"])
    assert (done["state"], done["price"], done["consumedKwh"]) == ("completed", 0, 0)
    assert done["timeoutAt"] is not None


async def test_a_stop_while_starting_completes_without_energy() -> None:
    rig = await a_rig()
    rig.sim.unplug(ChargePointId(str(AC)))
    charge = await rig.start()
    await rig.stop(charge["id"])
    await rig.pass_time(10)
    done = await rig.read(charge["id"])
    assert (done["state"], done["price"]) == ("completed", 0)


async def test_a_stopped_charge_may_be_restarted_by_others_and_the_meter_goes_on() -> None:
    rig = await a_rig()
    charge = await rig.start(IDLE)
    await rig.pass_time(600)
    await rig.stop(charge["id"])
    await rig.pass_time(10)
    first = (await rig.read(charge["id"]))["consumedKwh"]
    rig.sim.restart(ChargePointId(str(IDLE)))
    await rig.pass_time(600)
    again = await rig.read(charge["id"])
    assert again["state"] == "charging"
    assert again["stoppedAt"] is None
    assert again["consumedKwh"] > first


async def test_a_paused_charge_takes_no_energy() -> None:
    rig = await a_rig()
    charge = await rig.start()
    await rig.pass_time(300)
    rig.sim.pause(ChargePointId(str(AC)))
    paused = await rig.read(charge["id"])
    await rig.pass_time(600)
    assert (await rig.read(charge["id"]))["consumedKwh"] == paused["consumedKwh"]
    assert paused["state"] == "paused"
    rig.sim.resume(ChargePointId(str(AC)))
    await rig.pass_time(120)
    assert (await rig.read(charge["id"]))["consumedKwh"] > paused["consumedKwh"]


async def test_the_operators_force_stop_removes_the_payment() -> None:
    rig = await a_rig()
    charge = await rig.start()
    await rig.pass_time(600)
    rig.sim.force_stop(ChargePointId(str(AC)))
    await rig.pass_time(5)
    done = await rig.read(charge["id"])
    assert (done["state"], done["price"]) == ("completed", 0)
    assert done["consumedKwh"] > 1


async def test_an_offline_charge_point_hears_no_stop_and_reports_nothing_but_goes_on_charging() -> None:
    rig = await a_rig()
    charge = await rig.start(AC, kwhLimit=1)
    await rig.pass_time(120)
    rig.sim.set_offline(ChargePointId(str(AC)), offline=True)
    before = await rig.read(charge["id"])
    await rig.stop(charge["id"])
    await rig.pass_time(1200)
    assert (await rig.read(charge["id"]))["consumedKwh"] == before["consumedKwh"]
    assert rig.sim.delivered_wh(ChargeId(str(charge["id"]))) > 3000


async def test_a_local_start_is_a_charge_without_our_external_id() -> None:
    rig = await a_rig()
    rig.sim.local_start(ChargePointId(str(AC)))
    rows = await rig.search(partnerExternalId="")
    assert [row["chargeAuth"]["type"] for row in rows] == ["rfid"]
    assert (await rig.post_charge(AC)).status_code == 400, "busy"


async def test_drivers_bring_a_fresh_car_after_each_charge() -> None:
    driver = Driver(unplugs_after_stop_s=20, next_car_after_s=30)
    points = tuple(replace(point, driver=driver) for point in POINTS)
    rig = await a_rig(replace(CONFIG, points=points))
    for number in range(3):
        charge = await rig.start(IDLE, partnerExternalId=f"ps_{number}")
        await rig.pass_time(300)
        await rig.stop(charge["id"])
        await rig.pass_time(90)
        done = await rig.read(charge["id"])
        assert done["state"] == "completed"
        assert done["soc"]["percentage"] < 25, "each of them came with 20 %"


async def test_energy_by_hour_and_quarter_adds_up_to_the_meter() -> None:
    rig = await a_rig()
    charge = await rig.start()
    await rig.pass_time(5000)
    await rig.stop(charge["id"])
    await rig.pass_time(10)
    done = await rig.read(charge["id"])
    used = done["endMeterKwh"] - done["startMeterKwh"]
    assert sum(row["value"] for row in done["kwhPerHour"]) == used
    assert sum(row["value"] for row in done["kwhPerMaxResolution"]) == used
    answer = await rig.http.get(f"/charges/{charge['id']}/kwh-consumption?consumptionPeriodSizeInSeconds=300")
    rows = answer.json()["kwhConsumption"]
    assert len(rows) == 17
    assert round(sum(row["value"] for row in rows), 3) == float(used)
