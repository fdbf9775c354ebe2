"""Tests of app/domain/limit/meter.

Meters and prices that change their mind in mid charge: what a webhook claims, and a price that rises.
"""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.journeys.checks import ended, kinds, minor, the_charge
from tests.journeys.deliveries import as_monta_shows_it, deliver, entry
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio


async def test_F49_a_webhook_in_the_wrong_unit_is_left_to_the_record_and_the_charge_goes_on(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 5000)
        await rig.pass_time(300)
        shown = await as_monta_shows_it(rig)
        absurd = shown | {
            "consumedKwh": float(shown["consumedKwh"]) * 1000,
            "updatedAt": rig.clock.now().isoformat(),
        }
        assert await deliver(rig, entry(rig, absurd)) == 200
        await rig.pass_time(2)
        assert (await rig.session(session["id"]))["status"] == "charging"
        assert "impossible_reading_left_out" in await kinds(rig, session["id"])
        last = await ended(rig, session)
        charge = the_charge(rig)
        assert 4000 < last["settlement"]["amount_to_capture"] == minor(charge.price)
        settled = [line for line in await rig.journal(session["id"]) if line["kind"] == "settlement_decided"]
        assert abs(settled[0]["detail"]["energy_wh"] - charge.metered_wh) < 10, (
            "Monta shows two decimals of a kWh"
        )


async def test_F49_energy_that_the_charge_point_cannot_have_given_is_held_for_operations(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 5000)
        await rig.pass_time(300)
        rig.monta.stop_button(session["charge_point_id"])
        rig.monta.unplug(session["charge_point_id"])
        await rig.until(session["id"], "finishing")
        charge = the_charge(rig)
        while charge.state != "completed":
            await rig.pass_time(0.2)
        charge.reported_wh, charge.price = charge.reported_wh * 1000, Decimal("2133.00")
        await rig.pass_time(600)
        held = await rig.ops_session(session["id"])
        assert (held["status"], held["settlement"], held["needs_attention"]) == ("finishing", None, True)
        assert any("held for operations" in item["detail"] for item in held["attention"])


async def test_F51_a_price_that_rises_in_mid_charge_stops_the_charge_sooner(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.39"))
        session = await rig.authorize(101, 400)
        await rig.pass_time(300)
        assert (await rig.session(session["id"]))["status"] == "charging"
        charge = the_charge(rig)
        charge.price_group = replace(charge.price_group, kwh_price=Decimal("1.20"))
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert (
            minor(charge.price) - last["settlement"]["amount_to_capture"] == last["settlement"]["shortfall"]
        )
        assert last["settlement"]["amount_to_capture"] > 280
        assert last["settlement"]["shortfall"] == 0
        assert "attention_needed" in await kinds(rig, session["id"]) or last["needs_attention"]
