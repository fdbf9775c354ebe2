"""Tests of app/domain/session/limit, app/flows/session/stop_charge.

Edge cases of the limit: tiny authorizations, holds that expire while no stop works, guesses, estimates.
"""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from app.domain.limit.policy import Policy, SmallAuthorizations
from app.domain.limit.profile import ChargePointProfile
from app.domain.units.ids import ChargePointId, OperatorId, SessionId
from app.store.operators import charge_points
from app.store.sessions import payment_sessions
from tests.journeys.checks import check_settlement, ended, minor, the_charge
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

WATCH = Policy(small_authorizations=SmallAuthorizations.WATCH)


async def line(rig: Rig, session: Json, kind: str) -> Json:
    (found,) = [each for each in await rig.journal(session["id"]) if each["kind"] == kind]
    detail: Json = found["detail"]
    return detail


async def test_F9_by_policy_a_tiny_authorization_runs_on_our_watcher_alone(database_url: str) -> None:
    async with open_rig(database_url, policy=WATCH) as rig:
        await rig.set_tariff(energy_tariff("0.49"))
        session = await rig.authorize(101, 45)
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert 38 <= last["settlement"]["amount_to_capture"] <= 45
        assert last["settlement"]["shortfall"] == 0
        told = await line(rig, session, "start_intended")
        assert (told["guarded_by"], told["price_limit"], told["kwh_limit"]) == (
            "our watcher alone",
            None,
            None,
        )
        assert (await line(rig, session, "stop_decided"))["power_bound"] == "hardware"


async def test_F9_a_tiny_authorization_without_any_tariff_is_refused_whatever_the_policy(
    database_url: str,
) -> None:
    async with open_rig(database_url, policy=WATCH) as rig:
        async with rig.context.database.transaction() as connection:
            await connection.execute(text("UPDATE price_groups SET tariff = NULL"))
        refused = await rig.call("POST", "/v1/payment-sessions", body=rig.payment(106, 80))
        assert (refused.status_code, refused.json()["code"]) == (422, "amount_too_small")


async def test_a_fee_for_a_cable_left_in_never_pushes_montas_limit_below_its_least(database_url: str) -> None:
    parts = [
        {"type": "ENERGY", "price": "0.49", "step_size": 1},
        {"type": "PARKING_TIME", "price": "6.00", "step_size": 1},
    ]
    parking = energy_tariff() | {"elements": [{"price_components": parts}]}
    async with open_rig(database_url) as rig:
        await rig.set_tariff(parking)
        session = await rig.authorize(101, 105)
        await rig.pass_time(5)
        told = await line(rig, session, "start_intended")
        assert told["price_limit"] == "1.00"
        assert told["idle_fee_reserve_minor"] == 5
        last = await ended(rig, session)
        assert last["settlement"]["shortfall"] == 0


async def test_a_charge_that_no_stop_ends_is_settled_before_its_hold_dies_and_stopped_on(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(909)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        expires_at = rig.clock.now() + timedelta(minutes=10)
        session = await rig.authorize(909, 9000, authorization={"expires_at": expires_at.isoformat()})
        last = await rig.until(session["id"], "completed", within_s=600)
        assert rig.clock.now() < expires_at - timedelta(seconds=20)
        check_settlement(last)
        assert (last["stop_reason"], last["needs_attention"]) == ("hold_expiring", True)
        charge = the_charge(rig)
        assert charge.state == "charging"
        assert 0 < last["settlement"]["amount_to_capture"] <= minor(charge.price)
        assert last["settlement"]["amount_to_capture"] > 0.9 * minor(charge.price)
        ops = await rig.ops_session(session["id"])
        assert ops["settlement_basis"] == "last_price"
        assert [each["id"] for each in ops["duplicate_charges"]] == [str(charge.id)]
        assert any("no stop ended it" in item["detail"] for item in ops["attention"])
        stops = rig.stops()
        await rig.pass_time(60)
        assert rig.stops() >= stops + 3
        rig.monta.unplug(session["charge_point_id"])
        await rig.pass_time(60)
        quiet = rig.stops()
        await rig.pass_time(120)
        assert rig.stops() == quiet
        assert (await rig.session(session["id"]))["settlement"] == last["settlement"]


async def test_a_price_group_that_is_off_by_a_hundred_is_dropped_and_montas_limit_applies(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await ended(rig, await rig.authorize(907, 1000))
        rig.monta.set_kwh_price(25, Decimal(79))
        await rig.pass_time(2 * 3600)
        for point, why in ((907, "where a kWh lately cost"), (106, "the authorization buys 126 Wh")):
            session = await rig.authorize(point, 1000)
            ops = await rig.ops_session(session["id"])
            assert ops["tariff_source"] is None
            assert [why in gap for gap in ops["tariff_gaps"]] == [True]
            await rig.pass_time(5)
            told = await line(rig, session, "start_intended")
            assert told["price_limit"] == "10.00"
            assert "not believed" in told["tariff_gaps"]


async def test_operations_see_when_the_authorization_will_be_used_up_and_how_sure_the_amount_is(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.49"))
        session = await rig.authorize(102, 120)
        assert (await rig.ops_session(session["id"]))["expected_end"] is None
        await rig.pass_time(300)
        ops = await rig.ops_session(session["id"])
        expected = datetime.fromisoformat(ops["expected_end"])
        assert ops["amount_used_error"] == 0
        await rig.until(session["id"], "finishing", "completed")
        assert abs((rig.clock.now() - expected).total_seconds()) < 90
        await ended(rig, session)
        assert (await rig.ops_session(session["id"]))["expected_end"] is None


async def test_a_charge_point_begins_with_what_its_model_taught_elsewhere(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        operator_id = OperatorId(rig.operator.operator_id)
        async with rig.context.database.transaction() as connection:
            for number, latency_ms in ((104, 4000), (105, 9000), (106, 5000)):
                taught = ChargePointProfile(stop_latencies_ms=(latency_ms, 3000), interval_ms=30_000)
                await charge_points.put_profile(connection, operator_id, ChargePointId(str(number)), taught)
        fast, slow = await rig.authorize(907, 5000), await rig.authorize(101, 5000)
        await rig.pass_time(5)
        async with rig.context.database.transaction() as connection:
            dc = await payment_sessions.get(connection, SessionId(fast["id"]))
            ac = await payment_sessions.get(connection, SessionId(slow["id"]))
            own = await charge_points.profile_of(connection, operator_id, ChargePointId("907"))
        assert dc is not None
        assert ac is not None
        assert dc.profile == ChargePointProfile(stop_latencies_ms=(9000,), interval_ms=30_000)
        assert ac.profile == own == ChargePointProfile()
