"""Tests of app/domain/session/limit_checks, app/flows/terminal/authorize.

Holds and charges in different currencies: refused where the currency is known, else stopped at once.
"""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.domain.units.ids import ChargePointId
from app.simulator.config import GATEWAY_SCOPES, SimulatorConfig
from app.simulator.site.prices import Currency
from tests.journeys.checks import the_charge
from tests.journeys.rig import Rig, energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

KRONA = Currency(identifier="sek", name="Krona")


def mute(currency: Currency) -> SimulatorConfig:
    """A Monta without price groups: the currency is unknown before a charge shows it."""
    return usual(currency=currency, scopes=GATEWAY_SCOPES - {"price-groups:read"})


async def is_refused(rig: Rig, point: int, currency: str, **more: object) -> bool:
    held = {"authorization": {"currency": currency}} | more
    answer = await rig.call("POST", "/v1/payment-sessions", body=rig.payment(point, 5000, **held))
    assert answer.status_code in (201, 422), answer.text
    return answer.status_code == 422 and answer.json()["code"] == "currency_mismatch"


async def test_F99_a_charge_that_turns_out_to_run_in_another_currency_is_stopped_and_held(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=mute(KRONA)) as rig:
        session = await rig.authorize(907, 2000)
        await rig.until(session["id"], "finishing", "not_started", within_s=60)
        assert the_charge(rig).metered_wh < 500
        await rig.pass_time(3600)
        assert (await rig.ops_session(session["id"]))["needs_attention"]
        last = await rig.session(session["id"])
        assert (last["settlement"] or {"amount_to_capture": 0})["amount_to_capture"] == 0


async def test_F99_energy_that_flowed_in_another_currency_is_never_captured(database_url: str) -> None:
    async with open_rig(database_url, config=mute(Currency())) as rig:
        held = {"expires_at": (rig.clock.now() + timedelta(hours=6)).isoformat()}
        session = await rig.authorize(907, 2000, authorization=held)
        await rig.pass_time(200)
        assert (await rig.session(session["id"]))["status"] == "charging"
        rig.monta.set_currency(KRONA)
        await rig.until(session["id"], "finishing", within_s=130)
        assert (await rig.session(session["id"]))["stop_reason"] == "limit_reached"
        answer = await rig.call(
            "POST",
            f"/v1/payment-sessions/{session['id']}/authorizations",
            body={"reference": "B-1", "amount": 1000},
        )
        assert answer.status_code in (409, 422)
        await rig.pass_time(3600)
        waiting = await rig.session(session["id"])
        assert (waiting["settlement"], waiting["needs_attention"]) == (None, True)
        last = await rig.until(session["id"], "completed", within_s=6 * 3600)
        assert last["settlement"]["amount_to_capture"] == 0


async def test_F99_the_currency_of_the_last_charge_is_remembered_until_a_newer_report(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=mute(KRONA)) as rig:
        session = await rig.authorize(907, 2000)
        await rig.until(session["id"], "finishing", "not_started", within_s=60)
        await rig.pass_time(3600)
        assert await is_refused(rig, 907, "EUR")
        assert await is_refused(rig, 907, "EUR", tariff=energy_tariff())
        rig.monta.set_currency(Currency())
        rig.monta.unplug(ChargePointId("907"))
        rig.monta.plug_in(ChargePointId("907"))
        rig.monta.local_start(ChargePointId("907"))
        await rig.pass_time(2 * 3600)
        assert await is_refused(rig, 907, "SEK")
        assert not await is_refused(rig, 907, "EUR")


async def test_F99_a_tariff_that_is_set_comes_before_the_last_charges(database_url: str) -> None:
    async with open_rig(database_url, config=mute(KRONA)) as rig:
        session = await rig.authorize(907, 2000)
        await rig.until(session["id"], "finishing", "not_started", within_s=60)
        await rig.pass_time(3600)
        await rig.set_tariff(energy_tariff() | {"currency": "DKK"})
        assert await is_refused(rig, 101, "EUR")
        assert await is_refused(rig, 907, "SEK")
        await rig.set_tariff(energy_tariff())
        assert not await is_refused(rig, 102, "EUR")
        assert await is_refused(rig, 101, "SEK")


@pytest.mark.parametrize("code", ["JPY", "KWD", "SEK", "USD"])
async def test_F99_a_price_group_gives_the_currency_even_where_it_is_no_tariff(
    database_url: str, code: str
) -> None:
    async with open_rig(database_url) as rig:
        async with rig.context.database.transaction() as connection:
            await connection.execute(text("UPDATE price_groups SET tariff = NULL"))
        assert await is_refused(rig, 102, code)
        assert await is_refused(rig, 102, code, tariff=energy_tariff() | {"currency": code})
        assert not await is_refused(rig, 102, "EUR")


async def test_F99_a_top_up_is_refused_where_the_charge_point_has_another_currency_by_now(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=mute(Currency())) as rig:
        session = await rig.authorize(906, 2000)
        await rig.set_tariff(energy_tariff() | {"currency": "DKK"})
        async with rig.context.database.transaction() as connection:
            await connection.execute(
                text("UPDATE payment_sessions SET body = jsonb_set(body, '{charge}', 'null')")
            )
        answer = await rig.call(
            "POST",
            f"/v1/payment-sessions/{session['id']}/authorizations",
            body={"reference": "B-1", "amount": 1000},
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "currency_mismatch")
