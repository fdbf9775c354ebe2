"""Tests of app/flows/operator/sync.

Sources of tariffs: Monta's price groups when no tariff was set, kept fresh, with their gaps reported.
"""

from decimal import Decimal

import pytest
from sqlalchemy import text

from tests.journeys.checks import ended, minor, the_charge
from tests.journeys.rig import Rig, energy_tariff, open_rig

pytestmark = pytest.mark.anyio


async def price_of(rig: Rig, point: int) -> Decimal:
    shown = (await rig.call("GET", f"/v1/charge-points/{point}")).json()["price"]
    (energy,) = [
        component
        for element in shown["elements"]
        for component in element["price_components"]
        if component["type"] == "ENERGY"
    ]
    return Decimal(str(energy["price"]))


async def test_montas_price_group_limits_a_session_without_a_tariff(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(105, 1000)
        ops = await rig.ops_session(session["id"])
        assert ops["tariff_source"] == "monta_price_group"
        assert any("idle fee ends at 12" in gap for gap in ops["tariff_gaps"])
        last = await ended(rig, session)
        assert last["settlement"]["shortfall"] == 0
        assert 700 < last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)
        (started,) = [line for line in await rig.journal(session["id"]) if line["kind"] == "start_intended"]
        assert started["detail"]["tariff"] == "monta_price_group"
        assert "VAT" in started["detail"]["tariff_gaps"]


async def test_a_tariff_of_ones_own_comes_before_montas_and_the_payments_before_both(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        assert await price_of(rig, 106) == Decimal("0.79")
        await rig.set_tariff(energy_tariff("0.55"))
        assert await price_of(rig, 106) == Decimal("0.55")
        session = await rig.authorize(106, 1000, tariff=energy_tariff("0.60"))
        assert (await rig.ops_session(session["id"]))["tariff_source"] == "payment"


async def test_a_price_group_is_read_again_and_a_running_session_keeps_what_it_began_with(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(906, 1000)
        rig.monta.set_kwh_price(21, Decimal("0.99"))
        before = rig.calls("GET", "/price-groups/21")
        await rig.pass_time(2 * 3600)
        assert await price_of(rig, 101) == Decimal("0.99")
        assert 2 <= rig.calls("GET", "/price-groups/21") - before <= 5
        assert (await rig.ops_session(session["id"]))["tariff_source"] == "monta_price_group"


async def test_without_any_tariff_montas_limit_applies_alone_and_the_session_says_so(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 1000)
        await ended(rig, session)
        async with rig.context.database.transaction() as connection:
            await connection.execute(text("UPDATE price_groups SET tariff = NULL"))
        again = await rig.authorize(106, 1000)
        ops = await rig.ops_session(again["id"])
        assert (ops["tariff_source"], ops["learned_kwh_price"], again["energy_limit_wh"]) == (
            None,
            None,
            None,
        )
        await rig.pass_time(5)
        (started,) = [line for line in await rig.journal(again["id"]) if line["kind"] == "start_intended"]
        assert started["detail"]["guarded_by"] == "Monta's price limit alone"
        assert started["detail"]["price_limit"] == "10.00"
        third = await rig.authorize(907, 1000)
        price = the_charge_price(rig, session["id"])
        learned = (await rig.ops_session(third["id"]))["learned_kwh_price"]
        assert learned is not None
        assert abs(Decimal(learned) - price) < Decimal("0.01")


def the_charge_price(rig: Rig, session_id: str) -> Decimal:
    (charge,) = [each for each in rig.monta.charges() if each.order.partner_external_id == session_id]
    assert charge.price is not None
    return charge.price * 1000 / charge.metered_wh


async def test_F99_a_hold_in_another_currency_than_the_price_group_is_refused(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        answer = await rig.call(
            "POST", "/v1/payment-sessions", body=rig.payment(102, 500, authorization={"currency": "JPY"})
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "currency_mismatch")
        await rig.pass_time(60)
        assert rig.monta.charges() == []
