"""app/simulator/site: From start to completed: states, energy, limits, prices, cable and release."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from app.domain.units.ids import ChargeId, ChargePointId
from app.simulator.config import Driver
from app.simulator.site.vehicles import VEHICLES
from tests.simulator.box import AC, CONFIG, DC, IDLE, POINTS, a_box

pytestmark = pytest.mark.anyio


async def test_a_charge_goes_through_its_states_and_completes_two_to_three_seconds_after_the_stop() -> None:
    box = await a_box()
    charge = await box.start()
    assert charge["state"] == "starting"
    await box.pass_time(4)
    assert (await box.read(charge["id"]))["state"] == "charging"
    await box.pass_time(600)
    assert (await box.stop(charge["id"]))["state"] == "stopping"
    await box.pass_time(3)
    stopped = await box.read(charge["id"])
    assert stopped["state"] == "stopped"
    assert stopped["completedAt"] is None
    await box.pass_time(3)
    completed = await box.read(charge["id"])
    assert completed["state"] == "completed"
    gap = box.sim.charge(ChargeId(str(charge["id"])))
    assert gap.completed_at is not None
    assert gap.stopped_at is not None
    assert timedelta(seconds=2) <= gap.completed_at - gap.stopped_at <= timedelta(seconds=3)
    assert completed["stopReason"] == "api"
    assert completed["releasedAt"] is None, "completed can come without released"


async def test_the_energy_is_the_integral_of_the_cars_curve() -> None:
    box = await a_box()
    charge = await box.start(DC)
    await box.pass_time(3 + 900)
    curve = VEHICLES["Volkswagen ID.3 58 kWh"].curve(300_000, direct_current=True)
    stored_wh, step_s = 0.2 * 58_000, 0.05
    for step in range(int(900 / step_s)):
        ramp = min(1.0, (step + 0.5) * step_s / 15)
        stored_wh += ramp * curve.power_at(stored_wh) * step_s / 3600
    assert box.sim.delivered_wh(ChargeId(str(charge["id"]))) == pytest.approx(
        stored_wh - 0.2 * 58_000, rel=1e-4
    )
    assert box.sim.power_w(ChargePointId(str(DC))) == pytest.approx(curve.power_at(stored_wh), rel=1e-3)


async def test_what_monta_reports_follows_the_meter_not_the_clock() -> None:
    box = await a_box()
    charge = await box.start()
    await box.pass_time(3 + 59)
    assert (await box.read(charge["id"]))["consumedKwh"] == 0
    await box.pass_time(1)
    first = (await box.read(charge["id"]))["consumedKwh"]
    assert first == Decimal("0.17"), "57.5 s at full power of 11 kW, cut to two decimals"


async def test_a_meter_may_report_by_energy_instead_of_time() -> None:
    box = await a_box()
    charge = await box.start(103)
    shown = set()
    for _ in range(100):
        await box.pass_time(10)
        shown.add((await box.read(charge["id"]))["consumedKwh"])
    assert {Decimal("0.5"), Decimal(1), Decimal("1.5"), Decimal(2)} <= shown
    assert all(value % Decimal("0.5") == 0 for value in shown)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [({"kwhLimit": 2.5}, "KwhLimitReached"), ({"priceLimit": 5.0}, "PriceLimitReached")],
)
async def test_a_limit_stops_the_charge_after_its_reaction_time(limit: dict[str, float], reason: str) -> None:
    box = await a_box()
    charge = await box.start(AC, **limit)
    await box.pass_time(7200)
    done = await box.read(charge["id"])
    assert (done["state"], done["stopReason"]) == ("completed", reason)
    reached_wh = 2500 if "kwhLimit" in limit else 5.0 / 0.49 * 1000
    overshoot_wh = 11_000 * (2 + 3) / 3600
    assert float(done["consumedKwh"]) * 1000 == pytest.approx(reached_wh + overshoot_wh, abs=12)


async def test_a_state_of_charge_limit_stops_too() -> None:
    box = await a_box()
    charge = await box.start(DC, socLimit=30, kwhLimit=400)
    await box.pass_time(3600)
    done = await box.read(charge["id"])
    assert done["stopReason"] == "SocLimitReached"
    assert done["soc"]["percentage"] == pytest.approx(30, abs=0.7)


async def test_the_price_is_exact_with_start_fee_and_minute_fee() -> None:
    box = await a_box()
    with_start, with_minutes = await box.start(103), await box.start(104, partnerExternalId="ps_2")
    await box.pass_time(3 + 1800)
    for charge in (with_start, with_minutes):
        await box.stop(charge["id"])
    await box.pass_time(10)
    for charge, kwh_price, fee in ((with_start, "0.45", "0.35"), (with_minutes, "0.59", "1.5025")):
        done = await box.read(charge["id"])
        energy = done["endMeterKwh"] - done["startMeterKwh"]
        expected = (Decimal(kwh_price) * energy + Decimal(fee)).quantize(Decimal("0.01"))
        assert done["price"] == expected
        assert done["cost"] not in {0, done["price"]}


async def test_with_an_idle_fee_completed_waits_for_the_cable_and_the_fee_runs_on() -> None:
    box = await a_box()
    charge = await box.start(IDLE)
    await box.pass_time(603)
    await box.stop(charge["id"])
    await box.pass_time(10)
    waiting = await box.read(charge["id"])
    assert waiting["state"] == "releasing"
    await box.pass_time(1800)
    box.sim.unplug(ChargePointId(str(IDLE)))
    assert (await box.read(charge["id"]))["state"] == "released"
    await box.pass_time(3)
    done = await box.read(charge["id"])
    assert done["state"] == "completed"
    assert done["price"] - waiting["price"] == pytest.approx(Decimal("2.01"), abs=Decimal("0.02"))
    assert done["releasedAt"] is not None


async def test_a_driver_who_unplugs_ends_the_charge() -> None:
    box = await a_box()
    charge = await box.start()
    await box.pass_time(600)
    box.sim.unplug(ChargePointId(str(AC)))
    await box.pass_time(3)
    done = await box.read(charge["id"])
    assert (done["state"], done["stopReason"]) == ("completed", "EVDisconnected")
    assert done["releasedAt"] == done["stoppedAt"]


async def test_without_a_car_a_charge_stays_starting_until_one_is_plugged_in() -> None:
    box = await a_box()
    box.sim.unplug(ChargePointId(str(AC)))
    charge = await box.start()
    await box.pass_time(3600)
    assert (await box.read(charge["id"]))["state"] == "starting"
    box.sim.plug_in(ChargePointId(str(AC)), "Tesla Model 3 LR", 50)
    await box.pass_time(4)
    running = await box.read(charge["id"])
    assert running["state"] == "charging"
    assert running["cablePluggedInAt"] > running["startedAt"]


async def test_a_start_may_time_out_with_price_zero_when_configured() -> None:
    box = await a_box(start_timeout_s=300.0)
    box.sim.unplug(ChargePointId(str(AC)))
    charge = await box.start()
    await box.pass_time(310)
    done = await box.read(charge["id"])
    assert (done["state"], done["price"], done["consumedKwh"]) == ("completed", 0, 0)
    assert done["timeoutAt"] is not None


async def test_a_stop_while_starting_completes_without_energy() -> None:
    box = await a_box()
    box.sim.unplug(ChargePointId(str(AC)))
    charge = await box.start()
    await box.stop(charge["id"])
    await box.pass_time(10)
    done = await box.read(charge["id"])
    assert (done["state"], done["price"]) == ("completed", 0)


async def test_a_stopped_charge_may_be_restarted_by_others_and_the_meter_goes_on() -> None:
    box = await a_box()
    charge = await box.start(IDLE)
    await box.pass_time(600)
    await box.stop(charge["id"])
    await box.pass_time(10)
    first = (await box.read(charge["id"]))["consumedKwh"]
    box.sim.restart(ChargePointId(str(IDLE)))
    await box.pass_time(600)
    again = await box.read(charge["id"])
    assert again["state"] == "charging"
    assert again["stoppedAt"] is None
    assert again["consumedKwh"] > first


async def test_a_paused_charge_takes_no_energy() -> None:
    box = await a_box()
    charge = await box.start()
    await box.pass_time(300)
    box.sim.pause(ChargePointId(str(AC)))
    paused = await box.read(charge["id"])
    await box.pass_time(600)
    assert (await box.read(charge["id"]))["consumedKwh"] == paused["consumedKwh"]
    assert paused["state"] == "paused"
    box.sim.resume(ChargePointId(str(AC)))
    await box.pass_time(120)
    assert (await box.read(charge["id"]))["consumedKwh"] > paused["consumedKwh"]


async def test_the_operators_force_stop_removes_the_payment() -> None:
    box = await a_box()
    charge = await box.start()
    await box.pass_time(600)
    box.sim.force_stop(ChargePointId(str(AC)))
    await box.pass_time(5)
    done = await box.read(charge["id"])
    assert (done["state"], done["price"]) == ("completed", 0)
    assert done["consumedKwh"] > 1


async def test_an_offline_charge_point_hears_no_stop_and_reports_nothing_but_goes_on_charging() -> None:
    box = await a_box()
    charge = await box.start(AC, kwhLimit=1)
    await box.pass_time(120)
    box.sim.set_offline(ChargePointId(str(AC)), offline=True)
    before = await box.read(charge["id"])
    await box.stop(charge["id"])
    await box.pass_time(1200)
    assert (await box.read(charge["id"]))["consumedKwh"] == before["consumedKwh"]
    assert box.sim.delivered_wh(ChargeId(str(charge["id"]))) > 3000


async def test_a_local_start_is_a_charge_without_our_external_id() -> None:
    box = await a_box()
    box.sim.local_start(ChargePointId(str(AC)))
    rows = await box.search(partnerExternalId="")
    assert [row["chargeAuth"]["type"] for row in rows] == ["rfid"]
    assert (await box.post_charge(AC)).status_code == 400, "busy"


async def test_drivers_bring_a_fresh_car_after_each_charge() -> None:
    habits = Driver(unplugs_after_stop_s=20, next_car_after_s=30)
    points = tuple(replace(point, driver=habits) for point in POINTS)
    box = await a_box(replace(CONFIG, points=points))
    for number in range(3):
        charge = await box.start(IDLE, partnerExternalId=f"ps_{number}")
        await box.pass_time(300)
        await box.stop(charge["id"])
        await box.pass_time(90)
        done = await box.read(charge["id"])
        assert done["state"] == "completed"
        assert done["soc"]["percentage"] < 25, "each of them came with 20 %"


async def test_energy_by_hour_and_quarter_adds_up_to_the_meter() -> None:
    box = await a_box()
    charge = await box.start()
    await box.pass_time(5000)
    await box.stop(charge["id"])
    await box.pass_time(10)
    done = await box.read(charge["id"])
    used = done["endMeterKwh"] - done["startMeterKwh"]
    assert sum(row["value"] for row in done["kwhPerHour"]) == used
    assert sum(row["value"] for row in done["kwhPerMaxResolution"]) == used
    answer = await box.http.get(f"/charges/{charge['id']}/kwh-consumption?consumptionPeriodSizeInSeconds=300")
    rows = answer.json()["kwhConsumption"]
    assert len(rows) == 17
    assert round(sum(row["value"] for row in rows), 3) == float(used)
