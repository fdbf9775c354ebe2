"""Tests of app/flows/terminal/top_up.

One more hold on a running session: the limit rises, and the bill is spread over the holds; never unpaid energy.
"""

import asyncio
from datetime import timedelta

import pytest

from app.flows.admin import provision
from app.flows.session.claim import is_anything_due
from tests.journeys.checks import ended, kinds, minor, the_charge
from tests.journeys.rig import energy_tariff, open_rig
from tests.journeys.top_ups import allow_top_ups, charging, more

pytestmark = pytest.mark.anyio


async def test_a_top_up_raises_the_limit_and_the_bill_is_spread_over_both_holds(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await charging(rig)
        assert not await is_anything_due(rig.context)
        status, topped_up = await more(rig, session, 700)
        assert status == 201
        assert await is_anything_due(rig.context), "the stop is planned anew"
        assert (topped_up["amount_authorized"], topped_up["status"]) == (1700, "charging")
        limits = topped_up["limits"]
        assert (limits["own_limit"], limits["amount_usable"]) == (1700, 1700)
        assert 14_900 < limits["monta_price_limit"] <= 15_000, "by as much lower as Monta may react late"
        last = await ended(rig, session)
        settlement = last["settlement"]
        captured = settlement["amount_to_capture"]
        assert 1000 < captured == minor(the_charge(rig).price) <= 1700
        assert captured + settlement["amount_to_release"] == last["amount_authorized"] == 1700
        first, second = settlement["authorizations"]
        assert (first["amount_to_capture"], first["amount_to_release"]) == (1000, 0)
        assert second["reference"] == "T-1"
        assert second["amount_to_capture"] == captured - 1000
        assert second["amount_to_capture"] + second["amount_to_release"] == 700
        assert "topped_up" in await kinds(rig, session["id"])


async def test_the_hold_that_expires_first_is_captured_first(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await allow_top_ups(rig)
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await rig.pass_time(60)
        expires_at = rig.clock.now() + timedelta(hours=5)
        await more(rig, session, 300, expires_at=expires_at.isoformat())
        await rig.pass_time(60)
        await rig.stop(session["id"])
        last = await ended(rig, session)
        first, second = last["settlement"]["authorizations"]
        assert (first["reference"], first["amount_to_capture"]) == ("T-1", 300)
        assert second["amount_to_capture"] == last["settlement"]["amount_to_capture"] - 300 > 0
        assert last["settlement"]["deadline"].startswith(expires_at.isoformat()[:19])


async def test_the_same_top_up_again_is_the_same_and_another_amount_is_a_conflict(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await rig.pass_time(30)
        assert (await more(rig, session, 500))[0] == 201
        status, again = await more(rig, session, 500)
        assert (status, again["amount_authorized"]) == (200, 2500)
        status, other = await more(rig, session, 501)
        assert (status, other["code"]) == (409, "reference_conflict")
        status, first = await more(rig, session, 500, reference=session["authorization_reference"])
        assert (status, first["code"]) == (409, "reference_conflict")
        used = rig.payment(105, 1000, authorization={"reference": "T-1"})
        refused = await rig.call("POST", "/v1/payment-sessions", body=used)
        assert (refused.status_code, refused.json()["code"]) == (409, "reference_conflict")
        found = (await rig.call("GET", "/v1/payment-sessions?reference=T-1")).json()["data"]
        assert [each["id"] for each in found] == [session["id"]]
        await rig.stop(session["id"])
        await ended(rig, session)
        assert (await more(rig, session, 500))[0] == 200
        status, late = await more(rig, session, 500, reference="T-2")
        assert (status, late["code"]) == (409, "session_ended")


async def test_a_stop_that_was_asked_for_refuses_every_top_up_and_nothing_is_recorded(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 2000)
        await rig.pass_time(30)
        await rig.stop(session["id"])
        status, refused = await more(rig, session, 500)
        assert (status, refused["code"], refused["retryable"]) == (409, "session_ended", False)
        last = await ended(rig, session)
        assert last["amount_authorized"] == 2000
        assert (await rig.call("GET", "/v1/payment-sessions?reference=T-1")).json()["data"] == []


async def test_top_ups_and_a_stop_at_the_limit_race_without_unpaid_energy(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await allow_top_ups(rig)
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 500)
        taken = 500
        for n in range(40):
            await rig.pass_time(5)
            status, answer = await more(rig, session, 100, reference=f"T-{n}")
            if status != 201:
                assert answer["code"] in ("session_ended", "top_up_not_possible")
                break
            taken += 100
        last = await ended(rig, session)
        assert last["amount_authorized"] == taken
        assert last["settlement"]["shortfall"] == 0
        assert minor(the_charge(rig).price) <= taken


async def test_above_the_operators_policy_a_top_up_is_refused_with_the_amount_that_is_left(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await allow_top_ups(rig, 2500)
        session = await rig.authorize(106, 2000)
        await rig.pass_time(30)
        status, refused = await more(rig, session, 501)
        assert (status, refused["code"]) == (409, "top_up_not_possible")
        assert "5.00 EUR more" in refused["detail"]
        assert (await more(rig, session, 500))[0] == 201


@pytest.mark.parametrize("ceiling", ["top_up_max", "hold_max"])
async def test_earlier_top_ups_count_for_the_ceiling_of_a_later_one(database_url: str, ceiling: str) -> None:
    async with open_rig(database_url) as rig:
        if ceiling == "top_up_max":
            await allow_top_ups(rig, 2500)
        else:
            await provision.set_hold_max(rig.context, rig.operator.operator_id, 25)
        session = await rig.authorize(106, 1000)
        await rig.pass_time(30)
        assert (await more(rig, session, 1000))[0] == 201
        status, refused = await more(rig, session, 501, reference="T-2")
        assert status == (409 if ceiling == "top_up_max" else 422), refused
        assert (await more(rig, session, 500, reference="T-2"))[0] == 201


async def test_without_a_policy_the_answer_says_that_montas_limit_cannot_rise(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 2000)
        await rig.pass_time(30)
        status, topped_up = await more(rig, session, 1000)
        assert status == 201
        assert topped_up["limits"]["own_limit"] == 3000
        usable = topped_up["limits"]["amount_usable"]
        assert topped_up["limits"]["monta_price_limit"] == usable
        assert 1950 < usable <= 2000
        last = await ended(rig, session)
        # Monta checks its limit every few seconds; a little more is the driver's to pay, since it is held.
        assert 1900 < last["settlement"]["amount_to_capture"] < 2100


@pytest.mark.parametrize("own", [True, False])
async def test_F104_each_hold_is_confirmed_by_its_own_capture(database_url: str, *, own: bool) -> None:
    """`own`: the PSP has a reference for each hold; else one for the whole payment."""
    async with open_rig(database_url) as rig:
        await allow_top_ups(rig)
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 300)
        await more(rig, session, 700)
        last = await ended(rig, session)
        path = f"/v1/payment-sessions/{session['id']}/captures"
        statuses = []
        for share in last["settlement"]["authorizations"]:
            body = {
                "outcome": "captured",
                "amount": share["amount_to_capture"],
                "reference": f"psp-{share['reference']}" if own else "psp",
                "authorization_reference": share["reference"],
            }
            statuses.append((await rig.call("POST", path, body=body)).json()["settlement"]["status"])
        assert statuses == ["due", "confirmed"]
        wrong = {"outcome": "captured", "amount": 1, "reference": "x", "authorization_reference": "T-unknown"}
        assert (await rig.call("POST", path, body=wrong)).json()["code"] == "capture_conflict"


async def test_a_session_of_another_terminal_cannot_be_topped_up(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        status, refused = await more(rig, {"id": "ps_unknown"}, 500)
        assert (status, refused["code"]) == (404, "not_found")


async def test_top_ups_and_a_stop_at_the_same_moment_are_distinguished_by_the_rows_lock(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await charging(rig)
        asked = [more(rig, session, 100, reference=f"T-{n // 2}") for n in range(16)]
        answers, _ = await asyncio.gather(asyncio.gather(*asked), rig.stop(session["id"]))
        assert {status for status, _ in answers} <= {200, 201, 409}
        assert {body["code"] for status, body in answers if status == 409} <= {"session_ended"}
        taken = sum(1 for status, _ in answers if status == 201)
        last = await ended(rig, session)
        assert last["amount_authorized"] == 1000 + 100 * taken
        topped_up = [line for line in await rig.journal(session["id"]) if line["kind"] == "topped_up"]
        assert len(topped_up) == taken
        stopped_at = next(
            n for n, line in enumerate(await rig.journal(session["id"])) if line["kind"] == "stop_requested"
        )
        later = (await rig.journal(session["id"]))[stopped_at:]
        assert all(line["kind"] != "topped_up" for line in later)
