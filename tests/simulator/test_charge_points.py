"""Every magic charge point does what its row in the table says."""

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.domain.units.ids import ChargeId
from app.simulator.charge_points import MAGIC, MAGIC_POINTS, NORMAL_POINTS
from app.simulator.faults.catalog import FaultKind, Misreport, PointFaults
from app.simulator.server import default_config
from tests.simulator.rig import Rig, a_rig, decoded

pytestmark = pytest.mark.anyio


async def running(point_id: int, seconds: float = 120, **fields: Any) -> tuple[Rig, dict[str, Any]]:
    """A rig with webhooks in which a charge has run for a while."""
    rig = await (await a_rig()).subscribe()
    charge = await rig.start(point_id, **fields)
    await rig.pass_time(seconds)
    return rig, charge


async def state_after_stop(rig: Rig, charge: dict[str, Any], seconds: float = 15) -> str:
    await rig.stop(charge["id"])
    await rig.pass_time(seconds)
    return str((await rig.read(charge["id"]))["state"])


def test_every_magic_charge_point_is_in_the_table_with_a_number_of_its_own() -> None:
    config = default_config(speed=60, seed=7)
    ids = [point.id for point in config.points]
    assert len(ids) == len(set(ids))
    assert [line.id for line in MAGIC] == [point.id for point in MAGIC_POINTS] == list(range(901, 932))
    assert all(100 < point.id < 200 for point in NORMAL_POINTS)
    assert all(line.name and line.happens for line in MAGIC)
    assert config.webhook_cadence_s == 6.0, "ten batches a real second at most"


@pytest.mark.parametrize("point_id", [901, 902])
async def test_a_refused_start_is_a_400_without_a_charge(point_id: int) -> None:
    rig = await a_rig()
    answer = await rig.post_charge(point_id)
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "BAD_REQUEST")
    assert rig.sim.charges() == []


async def test_a_lost_answer_leaves_a_charge_behind() -> None:
    rig = await a_rig()
    with pytest.raises(httpx.RemoteProtocolError):
        await rig.post_charge(903)
    assert [row["chargePointId"] for row in await rig.search(partnerExternalId="ps_1")] == [903]


async def test_a_lost_answer_is_truncated_for_a_client_that_looks_at_the_bytes_only() -> None:
    rig = await a_rig()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(rig.sim.app),
        base_url="http://monta.test/api/v1",
        headers=rig.http.headers,
    ) as plain:
        answer = await plain.post("/charges", json={"payingTeamId": 4711, "chargePointId": 903})
    assert int(answer.headers["content-length"]) > len(answer.content)
    with pytest.raises(json.JSONDecodeError):
        answer.json()


async def test_a_late_effect_is_a_504_first_and_a_charge_45_seconds_later() -> None:
    rig = await a_rig()
    answer = await rig.post_charge(904)
    assert (answer.status_code, answer.headers["content-type"]) == (504, "text/html")
    await rig.pass_time(44)
    assert await rig.search(partnerExternalId="ps_1") == []
    await rig.pass_time(1)
    assert len(await rig.search(partnerExternalId="ps_1")) == 1
    await rig.pass_time(10)
    assert (await rig.search(partnerExternalId="ps_1"))[0]["state"] == "charging"


async def test_a_gateway_error_may_hide_a_started_charge() -> None:
    rig = await a_rig()
    assert (await rig.post_charge(905)).status_code == 502
    assert len(await rig.search(partnerExternalId="ps_1")) == 1


async def test_without_a_plugged_car_the_charge_stays_starting() -> None:
    rig, charge = await running(906, 3600)
    assert (await rig.read(charge["id"]))["state"] == "starting"
    assert await state_after_stop(rig, charge) == "completed"


async def test_the_driver_unplugs_after_three_kwh() -> None:
    rig, charge = await running(907, 600)
    done = await rig.read(charge["id"])
    assert (done["state"], done["stopReason"]) == ("completed", "EVDisconnected")
    assert done["consumedKwh"] == Decimal("3")


async def test_three_stops_are_ignored_and_the_fourth_works() -> None:
    rig, charge = await running(908)
    for _ in range(3):
        assert (await rig.stop(charge["id"]))["state"] == "stopping"
        await rig.pass_time(10)
        assert (await rig.read(charge["id"]))["state"] == "charging"
    assert await state_after_stop(rig, charge) == "completed"


async def test_a_stop_without_effect_answers_200_and_only_the_limit_ends_the_charge() -> None:
    rig, charge = await running(909, kwhLimit=5)
    for _ in range(5):
        assert await state_after_stop(rig, charge) == "charging"
    await rig.pass_time(900)
    assert (await rig.read(charge["id"]))["stopReason"] == "KwhLimitReached"


async def test_no_webhook_ever_comes() -> None:
    rig, charge = await running(910)
    assert await state_after_stop(rig, charge) == "completed"
    assert rig.received.bodies == []
    assert decoded(await rig.http.get("/webhooks/entries"))["data"] == []


async def test_webhooks_come_twice_late_and_in_any_order() -> None:
    rig, charge = await running(911, 300)
    await state_after_stop(rig, charge, 60)
    times = [entry["eventTime"] for entry in rig.received.entries]
    assert sorted(times) != times
    assert all(times.count(time) % 2 == 0 for time in times)
    assert rig.sim.deliveries[0].at >= rig.sim.charge(ChargeId(str(charge["id"]))).created_at


async def test_the_webhook_comes_before_the_answer() -> None:
    rig = await (await a_rig()).subscribe()
    charge = await rig.start(912)
    assert [entry["entityId"] for entry in rig.received.entries] == [str(charge["id"])]


async def test_the_meter_falls_once_and_the_final_record_is_right() -> None:
    rig, charge = await running(913, 600)
    kwh = [
        Decimal(str(entry["payload"]["consumedKwh"] or 0))
        for entry in rig.received.entries
        if entry["entityType"] == "charge"
    ]
    assert sorted(kwh) != kwh
    await state_after_stop(rig, charge)
    done = await rig.read(charge["id"])
    assert float(done["consumedKwh"]) == pytest.approx(
        rig.sim.delivered_wh(ChargeId(str(charge["id"]))) / 1000, abs=0.011
    )


async def test_limits_are_ignored_and_the_price_goes_above_them() -> None:
    rig, charge = await running(914, 1800, priceLimit=5, kwhLimit=3)
    assert (await rig.read(charge["id"]))["state"] == "charging"
    await state_after_stop(rig, charge)
    assert (await rig.read(charge["id"]))["price"] > 10


async def test_a_full_car_ends_its_charge_itself() -> None:
    rig, charge = await running(915, 900)
    done = await rig.read(charge["id"])
    assert (done["state"], done["stopReason"]) == ("completed", "EVFullyCharged")
    assert done["fullyChargedAt"] == done["stoppedAt"]
    assert done["consumedKwh"] == pytest.approx(Decimal("1.16"), abs=Decimal("0.02"))


async def test_another_user_restarts_the_charge_after_the_first_stop() -> None:
    rig, charge = await running(916)
    assert await state_after_stop(rig, charge, 5) == "stopped"
    await rig.pass_time(15)
    assert (await rig.read(charge["id"]))["state"] == "charging"
    assert await state_after_stop(rig, charge) == "completed"


async def test_a_charge_with_energy_completes_with_price_zero() -> None:
    rig, charge = await running(917)
    assert await state_after_stop(rig, charge) == "completed"
    done = await rig.read(charge["id"])
    assert (done["price"], done["consumedKwh"] > 1) == (0, True)


async def test_the_cable_left_in_costs_an_idle_fee_and_delays_the_end() -> None:
    rig, charge = await running(918)
    assert await state_after_stop(rig, charge, 600) == "releasing"
    await rig.pass_time(1300)
    done = await rig.read(charge["id"])
    assert done["state"] == "completed"
    energy = done["endMeterKwh"] - done["startMeterKwh"]
    assert done["price"] == round(Decimal("0.69") * energy + Decimal("0.50") + Decimal("2.00"), 2)


async def test_two_starts_are_throttled_and_the_third_works() -> None:
    rig = await a_rig()
    for _ in range(2):
        answer = await rig.post_charge(919)
        assert (answer.status_code, answer.headers["RateLimit-ResetsIn"]) == (429, "5")
        assert answer.headers["RateLimit-Remaining"] == "0"
    await rig.start(919)


async def test_two_charges_come_of_one_post_and_only_the_first_gets_power() -> None:
    rig, charge = await running(921)
    rows = await rig.search(partnerExternalId="ps_1")
    assert [row["state"] for row in rows] == ["starting", "charging"]
    assert rows[1]["id"] == charge["id"]
    spare = rows[0]
    assert await state_after_stop(rig, spare) == "completed"
    assert (await rig.read(charge["id"]))["state"] == "charging", "the other goes on"


async def test_the_answer_may_be_wrapped() -> None:
    rig = await a_rig()
    answer = (await rig.post_charge(922)).json()
    assert answer["charge"]["state"] == "starting"


async def test_a_failed_charge_is_stopped_with_a_reason_and_completes() -> None:
    rig, charge = await running(923, 70)
    done = await rig.read(charge["id"])
    assert (done["state"], done["failureReason"]) == ("completed", "Ground fault")
    assert done["failedAt"] == done["stoppedAt"]


async def test_the_driver_may_plug_in_a_minute_after_the_start() -> None:
    rig, charge = await running(924, 59)
    assert (await rig.read(charge["id"]))["state"] == "starting"
    await rig.pass_time(10)
    assert (await rig.read(charge["id"]))["state"] == "charging"


async def test_every_fault_happens_either_instead_of_the_effect_or_after_it() -> None:
    fault_effects = Rig().sim.fault_effects
    assert set(fault_effects.instead) | set(fault_effects.afterwards) == set(FaultKind)
    assert not set(fault_effects.instead) & set(fault_effects.afterwards)


MISREPORTS: dict[int, dict[str, Any]] = {
    925: {"lifetime_reading": True},
    926: {"gone_after_s": 120.0},
    927: {"clock_offset_s": -600.0},
    928: {"state_word": "suspended_grid", "state_word_after_s": 60.0},
    929: {"state_word": "stopping", "state_word_after_s": 60.0},
    930: {"final_price": Decimal("-0.35")},
    931: {"currency": "dkk"},
}
"""What each of them shows is tested in test_misreports.py."""


@pytest.mark.parametrize("point_id", MISREPORTS)
def test_a_charge_point_that_misreports_does_what_its_line_says(point_id: int) -> None:
    (config,) = (point for point in MAGIC_POINTS if point.id == point_id)
    assert config.faults == PointFaults(misreport=Misreport(**MISREPORTS[point_id]))
