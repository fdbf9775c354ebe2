"""Tests of app/domain/session/settle.

Unusual ends: too expensive, free, unpriced, in another currency, late; settled once and never above the hold.
"""

from datetime import timedelta
from decimal import Decimal

import pytest

from app.simulator.faults.catalog import FaultKind
from app.simulator.site.prices import Currency
from tests.journeys.checks import DUPLICATE_WATCH_S, check_settlement, ended, minor, starts, the_charge
from tests.journeys.rig import energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

PRICE = energy_tariff("0.79")


async def test_F66_an_idle_fee_beyond_the_hold_is_the_operators_loss_and_on_record(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.69"))
        session = await rig.authorize(918, 500)
        last = await ended(rig, session)
        settlement = last["settlement"]
        assert settlement["amount_to_capture"] == 500
        assert settlement["amount_to_release"] == 0
        assert settlement["shortfall"] == minor(the_charge(rig).price) - 500 > 0
        assert last["needs_attention"]
        assert (last["amount_used"], last["amount_remaining"]) == (500, 0)


async def test_F69_an_idle_fee_within_the_hold_is_captured(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(918, 5000)
        await rig.pass_time(120)
        rig.monta.stop_button(session["charge_point_id"])
        await rig.pass_time(600)
        assert (await rig.session(session["id"]))["status"] == "finishing"
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)
        assert minor(the_charge(rig).price) > 200


async def test_F69_a_session_fee_is_part_of_the_price_that_is_captured(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        components = [
            {"type": "FLAT", "price": "0.35", "step_size": 1},
            {"type": "ENERGY", "price": "0.45", "step_size": 1},
        ]
        await rig.set_tariff(energy_tariff() | {"elements": [{"price_components": components}]})
        session = await rig.authorize(103, 300)
        last = await ended(rig, session)
        charge = the_charge(rig)
        assert last["settlement"]["amount_to_capture"] == minor(charge.price)
        assert charge.price == (Decimal("0.35") + Decimal("0.45") * charge.metered_wh / 1000).quantize(
            Decimal("0.01"), "ROUND_HALF_UP"
        )
        assert last["settlement"]["shortfall"] == 0


async def test_a_minute_fee_is_counted_into_the_limit(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        components = [
            {"type": "TIME", "price": "3.00", "step_size": 1},
            {"type": "ENERGY", "price": "0.59", "step_size": 1},
        ]
        await rig.set_tariff(energy_tariff() | {"elements": [{"price_components": components}]})
        session = await rig.authorize(104, 1000)
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert last["settlement"]["shortfall"] == 0
        assert 700 < last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)


async def test_F68_a_charge_without_energy_that_completes_is_a_release(database_url: str) -> None:
    config = usual(start_timeout_s=60)
    async with open_rig(database_url, config=config) as rig:
        session = await rig.authorize(906)
        last = await ended(rig, session)
        assert the_charge(rig).state == "completed"
        assert (last["status"], last["settlement"]["action"]) == ("not_started", "release")
        assert last["not_started_reason"] == "start_timeout"
        assert rig.stops() == 0


async def test_a_payment_that_monta_removed_is_released_though_energy_flowed(database_url: str) -> None:
    async with open_rig(database_url, config=usual(917)) as rig:
        session = await rig.authorize(917, 500)
        last = await rig.until(session["id"], "completed")
        assert the_charge(rig).metered_wh > 0
        settlement = last["settlement"]
        assert (settlement["action"], settlement["amount_to_release"]) == ("release", 500)
        assert settlement["energy_wh"] > 0
        check_settlement(last)


async def test_F67_a_price_in_another_currency_is_never_captured_but_shown_to_operations(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 2000, tariff=PRICE)
        await rig.until(session["id"], "finishing")
        rig.monta.set_currency(Currency(identifier="sek", name="Krona"))
        await rig.pass_time(DUPLICATE_WATCH_S)
        last = await rig.session(session["id"])
        assert (last["status"], last["settlement"]) == ("finishing", None)
        assert last["needs_attention"]
        told = (await rig.ops_session(session["id"]))["attention"]
        assert {why["code"]: "SEK" in why["detail"] for why in told} == {
            "other_currency": True,
            "final_record_held": True,
        }
        reads = rig.calls("GET", f"/charges/{the_charge(rig).id}")
        await rig.pass_time(3600)
        assert 10 <= rig.calls("GET", f"/charges/{the_charge(rig).id}") - reads <= 14


async def test_F67_a_completed_charge_without_a_price_is_read_again_until_it_has_one(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 2000)
        await rig.until(session["id"], "finishing")
        charge = the_charge(rig)
        await rig.pass_time(1)
        while charge.state != "completed":
            await rig.pass_time(0.2)
        price, charge.price = charge.price, None
        await rig.pass_time(60)
        waiting = await rig.session(session["id"])
        assert (waiting["settlement"], waiting["needs_attention"]) == (None, True)
        charge.price = price
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(price)


async def test_F30_monta_down_at_settlement_only_delays_it(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(907, 2000)
        await rig.until(session["id"], "finishing")
        at = rig.clock.now()
        rig.monta.faults.between(at, at + timedelta(minutes=30), FaultKind.UNAVAILABLE)
        await rig.pass_time(1795)
        assert (await rig.session(session["id"]))["settlement"] is None
        await rig.pass_time(70)
        assert (await rig.session(session["id"]))["status"] == "completed"
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F70_a_charge_that_hangs_is_settled_by_the_last_price_before_its_hold_expires(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        expires_at = rig.clock.now() + timedelta(minutes=20)
        hold = {"expires_at": expires_at.isoformat()}
        session = await rig.authorize(918, 5000, authorization=hold)
        await rig.pass_time(120)
        rig.monta.stop_button(session["charge_point_id"])
        await rig.pass_time(600)
        early = await rig.session(session["id"])
        assert (early["status"], early["needs_attention"]) == ("finishing", False)
        settled = await rig.until(session["id"], "completed", within_s=480)
        shown = settled["settlement"]["amount_to_capture"]
        assert 0 < shown <= 5000
        assert rig.clock.now() < expires_at
        ops = await rig.ops_session(session["id"])
        assert ops["settlement_basis"] == "last_price"
        assert "by the last price" in ops["attention"][0]["detail"]
        last = await ended(rig, session)
        final = minor(the_charge(rig).price)
        assert last["settlement"]["amount_to_capture"] == shown < final
        assert "not what was settled by" in (await rig.ops_session(session["id"]))["attention"][-1]["detail"]


async def test_F72_what_the_psp_did_is_recorded_once_and_ends_the_matter(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 2000)
        last = await rig.until(session["id"], "completed")
        amount = last["settlement"]["amount_to_capture"]
        report = {"outcome": "captured", "amount": amount, "reference": "CAP-1"}
        path = f"/v1/payment-sessions/{session['id']}/captures"
        answers = [await rig.call("POST", path, body=report) for _ in range(3)]
        assert {a.status_code for a in answers} == {200}
        assert {a.json()["settlement"]["status"] for a in answers} == {"confirmed"}
        assert answers[0].json()["version"] == answers[2].json()["version"]
        await ended(rig, session)


async def test_the_final_amounts_stay_as_they_are_whatever_monta_says_later(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 2000)
        last = await rig.until(session["id"], "completed")
        the_charge(rig).price = Decimal(99)
        await rig.pass_time(7200)
        assert (await rig.session(session["id"]))["settlement"] == last["settlement"]
        assert len(starts(rig)) == 1
