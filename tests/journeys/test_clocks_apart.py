"""Tests of app/domain/session/reports, app/clock.

Monta's clock beside ours: its charges are found, watched and settled, and the difference is reported.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.charging.charge import ENDED, ChargeReport
from app.domain.units.ids import ChargePointId
from app.flows.context import monta_of
from app.monta.objects import StartCharge
from app.simulator.config import Driver, PointConfig, SimulatorConfig
from app.simulator.faults.catalog import Fault, FaultKind, Misreport, PointFaults
from tests.journeys.checks import ended, minor, starts, the_charge
from tests.journeys.lost_sessions import forget, orphans_of
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

QUICK = usual()
HOURLY = energy_tariff(
    "0.60",
    elements=[
        {
            "price_components": [
                {"type": "ENERGY", "price": "0.60", "step_size": 1},
                {"type": "TIME", "price": "1.20", "step_size": 60},
            ],
            "restrictions": {"start_time": "06:00", "end_time": "22:00"},
        },
        {"price_components": [{"type": "ENERGY", "price": "0.60", "step_size": 1}]},
    ],
)


def off_by(seconds: float, *, at_start: FaultKind | None = None) -> SimulatorConfig:
    """A charge point whose records have the times of a clock that is wrong by this much."""
    point = PointConfig(
        id=108,
        name="Another clock",
        max_w=50_000,
        price_group_id=25,
        direct_current=True,
        meter_interval_s=30.0,
        driver=Driver(unplugs_after_stop_s=20.0, next_car_after_s=30.0),
        faults=PointFaults(
            at_start=None if at_start is None else Fault(at_start),
            misreport=Misreport(clock_offset_s=seconds),
        ),
    )
    return replace(QUICK, points=(*QUICK.points, point))


CLOCKS = [-121.0, -600.0, 600.0, -7 * 86_400.0, 7 * 86_400.0, -63_000_000_000.0]


async def told(rig: Rig, session: Json) -> Json:
    lines = await rig.journal(session["id"])
    (line,) = [line for line in lines if line["kind"] == "monta_clock_differs"]
    return line


@pytest.mark.parametrize("seconds", CLOCKS)
async def test_F101_the_answer_to_our_own_start_is_our_charge_whatever_its_clock_says(
    database_url: str, seconds: float
) -> None:
    async with open_rig(database_url, config=off_by(seconds)) as rig:
        await rig.set_tariff(HOURLY if abs(seconds) < 86_400 else energy_tariff("0.79"))
        session = await rig.authorize(108, 500)
        await rig.until(session["id"], "charging", within_s=120)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 300
        assert (last["stop_reason"], len(starts(rig))) == ("limit_reached", 1)
        line = await told(rig, session)
        assert abs(line["detail"]["ahead_s"] - seconds) < 40
        ops = (await rig.call("GET", "/v1/ops/summary", key=rig.ops.api_key)).json()
        assert abs(ops["operators"][0]["monta_clock_ahead_s"] - seconds) < 40
        second = await rig.authorize(108, 500)
        await rig.until(second["id"], "charging", within_s=120)


@pytest.mark.parametrize("seconds", [-600.0, 600.0])
@pytest.mark.parametrize("fault_kind", [FaultKind.ANSWER_LOST, FaultKind.WEBHOOK_FIRST])
async def test_F101_a_record_with_our_reference_is_found_whatever_its_clock_says(
    database_url: str, seconds: float, fault_kind: FaultKind
) -> None:
    async with open_rig(database_url, config=off_by(seconds, at_start=fault_kind)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(108, 500)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 300
        assert len(starts(rig)) == 1


async def test_F101_when_the_clocks_agree_again_nothing_is_reported_any_more(database_url: str) -> None:
    async with open_rig(database_url, config=off_by(-600.0)) as rig:
        first = await rig.authorize(108, 500)
        await ended(rig, first)
        second = await rig.authorize(106, 500)
        await rig.until(second["id"], "charging", within_s=60)
        ops = (await rig.call("GET", "/v1/ops/summary", key=rig.ops.api_key)).json()
        assert ops["operators"][0]["monta_clock_ahead_s"] is None
        await rig.pass_time(timedelta(minutes=1).total_seconds())


@pytest.mark.parametrize("seconds", [7200.0, -7200.0])
async def test_F101_a_charge_that_no_session_knows_is_stopped_whatever_its_clock_says(
    database_url: str, seconds: float
) -> None:
    async with open_rig(database_url, config=off_by(seconds)) as rig:
        session = await rig.authorize(108, 5000)
        await rig.until(session["id"], "charging", within_s=120)
        await forget(rig, session["id"])
        await rig.pass_time(3700)
        assert the_charge(rig).state in ENDED
        assert len(await orphans_of(rig)) == 1


async def start_elsewhere(rig: Rig, session: Json, point: str) -> ChargeReport:
    """A charge with the session's reference at another charge point, started by any user."""
    monta = await monta_of(rig.context, rig.operator.operator_id)
    return await monta.start_charge(
        StartCharge(
            paying_team_id="4711",
            charge_point_id=ChargePointId(point),
            partner_external_id=session["id"],
            provider="tapwatt",
            external_id=session["display_reference"],
        )
    )


@pytest.mark.parametrize("public_url", [None, "https://tapwatt.test"])
async def test_F108_a_charge_elsewhere_with_our_reference_holds_back_no_release(
    database_url: str, public_url: str | None
) -> None:
    async with open_rig(database_url, public_url=public_url) as rig:
        rig.monta.faults.next("POST", "/charges", FaultKind.REQUEST_LOST)
        session = await rig.authorize(106, 2000)
        await rig.pass_time(1)
        other = await start_elsewhere(rig, session, "101")
        last = await rig.until(session["id"], "not_started", within_s=310)
        assert last["settlement"]["action"] == "release"
        assert rig.stops() == 0
        assert rig.monta.charge(other.id).state not in ENDED
        attention = (await rig.ops_session(session["id"]))["attention"]
        assert [item["code"] for item in attention if item["code"] == "foreign_charge"]
        second = await rig.authorize(106, 2000)
        await rig.until(second["id"], "charging", within_s=120)
        asked = len(rig.monta.requests)
        await rig.pass_time(3600)
        assert len(rig.monta.requests) - asked < 200, "both sessions and all jobs together"


async def test_F108_a_search_that_is_never_answered_whole_ends_with_the_hold(database_url: str) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        rig.monta.faults.next("POST", "/charges", FaultKind.REQUEST_LOST)
        expires_at = rig.clock.now() + timedelta(hours=6)
        session = await rig.authorize(106, 2000, authorization={"expires_at": expires_at.isoformat()})
        rig.monta.faults.between(
            rig.clock.now(), rig.clock.now() + timedelta(days=9), FaultKind.UNAVAILABLE, path="/charges"
        )
        await rig.pass_time(3600)
        assert (await rig.session(session["id"]))["status"] == "authorized"
        assert rig.calls("GET", "/charges") < 60
        last = await rig.until(session["id"], "not_started", within_s=6 * 3600)
        assert last["settlement"]["action"] == "release"
        assert rig.clock.now() < expires_at
