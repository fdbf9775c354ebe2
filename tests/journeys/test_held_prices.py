"""Tests of app/domain/session/plausibility, app/flows/admin/settle_manually.

Prices that cannot be right are held for operations, and resolved before the hold dies; never more than plausible.
"""

from datetime import timedelta
from decimal import Decimal

import pytest

from app.flows.admin import provision
from tests.journeys.checks import ended, minor, the_charge
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig

pytestmark = pytest.mark.anyio

TARIFF = energy_tariff("0.79")


async def completed_at_monta(rig: Rig, session: Json, factor: Decimal) -> int:
    """Let the driver go, and Monta show this multiple of the right price; returns the right one in minor units."""
    await rig.until(session["id"], "finishing")
    charge = the_charge(rig)
    while charge.state != "completed":
        await rig.pass_time(0.2)
    right = charge.price
    assert right is not None
    charge.price = right * factor
    await rig.pass_time(60)
    return minor(right)


async def settle(rig: Rig, session: Json, amount: int, reason: str = "checked") -> tuple[int, Json]:
    answer = await rig.call(
        "POST",
        f"/v1/ops/payment-sessions/{session['id']}/settle",
        body={"amount": amount, "reason": reason},
        key=rig.ops.api_key,
    )
    return answer.status_code, answer.json()


@pytest.mark.parametrize(("factor", "why"), [("100", "above every bound"), ("0.01", "far below the least")])
async def test_a_mixed_up_unit_is_held_until_operations_decide(
    database_url: str, factor: str, why: str
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(TARIFF)
        session = await rig.authorize(907, 5000)
        right = await completed_at_monta(rig, session, Decimal(factor))
        held = await rig.ops_session(session["id"])
        assert (held["status"], held["settlement"], held["needs_attention"]) == ("finishing", None, True)
        assert why in held["attention"][0]["detail"]
        await rig.pass_time(3600)
        assert (await rig.session(session["id"]))["status"] == "finishing"
        status, decided = await settle(rig, session, right, "the meter says so")
        assert (status, decided["status"]) == (200, "completed")
        assert (decided["needs_attention"], decided["settlement_basis"]) == (False, "person")
        assert (await settle(rig, session, right))[0] == 200
        assert (await settle(rig, session, right + 1))[1]["code"] == "already_settled"
        (line,) = [each for each in await rig.journal(session["id"]) if each["kind"] == "amount_decided"]
        assert line["source"] == "operations"
        named = {"by": rig.ops.id, "by_name": "operations"}
        assert line["detail"] == {"amount_minor": right, "reason": "the meter says so"} | named
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == right


async def test_operations_may_settle_at_nothing_and_the_hold_is_released(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(TARIFF)
        session = await rig.authorize(907, 5000)
        await completed_at_monta(rig, session, Decimal(100))
        assert (await settle(rig, session, 0))[0] == 200
        last = await rig.until(session["id"], "completed")
        assert (last["settlement"]["action"], last["settlement"]["amount_to_release"]) == ("release", 5000)


async def test_a_charge_that_runs_cannot_be_settled_by_hand(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 5000)
        await rig.pass_time(60)
        status, refused = await settle(rig, session, 100)
        assert (status, refused["code"]) == (409, "session_running")
        assert (await settle(rig, {"id": "ps_unknown"}, 100))[0] == 404


async def test_F67_an_undecided_held_price_is_settled_by_the_tariff_before_the_hold_expires(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(TARIFF)
        expires_at = rig.clock.now() + timedelta(hours=4)
        hold = {"expires_at": expires_at.isoformat()}
        session = await rig.authorize(907, 5000, authorization=hold)
        right = await completed_at_monta(rig, session, Decimal(100))
        last = await rig.until(session["id"], "completed", within_s=4 * 3600)
        assert expires_at - timedelta(minutes=11) < rig.clock.now() < expires_at
        assert right - 2 <= last["settlement"]["amount_to_capture"] <= right
        ops = await rig.ops_session(session["id"])
        assert ops["settlement_basis"] == "tariff_minimum"
        assert ops["needs_attention"]


async def test_F79_without_any_price_or_tariff_the_hold_is_released_in_the_end(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        expires_at = rig.clock.now() + timedelta(hours=1)
        hold = {"expires_at": expires_at.isoformat()}
        session = await rig.authorize(907, 5000, authorization=hold, tariff=energy_tariff("0"))
        await rig.until(session["id"], "finishing")
        charge = the_charge(rig)
        while charge.state != "completed":
            await rig.pass_time(0.2)
        charge.price = None
        last = await rig.until(session["id"], "completed", within_s=3600)
        assert last["settlement"]["action"] == "release"
        assert last["needs_attention"]
        assert rig.clock.now() < expires_at


async def test_the_operators_days_for_a_card_scheme_end_a_session_in_time(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await provision.set_hold_days(rig.context, rig.operator.operator_id, "visa", 1)
        await provision.set_hold_days(rig.context, rig.operator.operator_id, None, 3)
        began = rig.clock.now()
        session = await rig.authorize(906, 5000, authorization={"card": {"brand": "Visa"}})
        other = await rig.authorize(901, 5000, authorization={"card": {"brand": "girocard"}})
        last = await rig.until(session["id"], "not_started")
        assert last["settlement"]["deadline"][:19] == (began + timedelta(days=1)).isoformat()[:19]
        refused = await rig.until(other["id"], "not_started")
        assert refused["settlement"]["deadline"][:19] == (began + timedelta(days=3)).isoformat()[:19]


async def test_a_price_somewhat_above_the_tariff_is_billed_and_reported(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.60"))
        session = await rig.authorize(907, 5000)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)
        assert (
            "above the most that the tariff allows"
            in (await rig.ops_session(session["id"]))["attention"][0]["detail"]
        )
