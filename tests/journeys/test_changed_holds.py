"""Tests of app/flows/terminal/top_up: `change_hold`.

The PSP raises and lowers a hold in place: the limit follows, and one hold is captured once; never unpaid energy.
"""

import asyncio
from datetime import timedelta

import pytest

from app.domain.evidence.verify import problems
from app.store.sessions import leases
from tests.journeys.bundles import evidence_of
from tests.journeys.checks import ended, kinds, minor, the_charge
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig
from tests.journeys.top_ups import allow_top_ups, charging, more

pytestmark = pytest.mark.anyio


async def change(
    rig: Rig, session: Json, total: int, reference: str | None = None, **others: object
) -> tuple[int, Json]:
    path = f"/v1/payment-sessions/{session['id']}/authorizations"
    body = {"reference": reference or session["authorization_reference"], "amount_total": total}
    answer = await rig.call("POST", path, body=body | others)
    replayed = {"replayed": answer.headers.get("Idempotency-Replayed") == "true"}
    return answer.status_code, answer.json() | replayed


async def test_a_hold_raised_and_lowered_in_place_is_the_limit_and_is_captured_once(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await charging(rig)
        status, raised = await change(rig, session, 3000)
        assert (status, raised["amount_authorized"], raised["replayed"]) == (200, 3000, False)
        assert raised["limits"]["own_limit"] == 3000
        status, again = await change(rig, session, 3000)
        assert (status, again["version"], again["replayed"]) == (200, raised["version"], True)
        await rig.pass_time(60)
        status, lowered = await change(rig, session, 1500)
        assert (status, lowered["amount_authorized"]) == (200, 1500)
        repeated = rig.payment(106, 1000, authorization={"reference": session["authorization_reference"]})
        assert (await rig.call("POST", "/v1/payment-sessions", body=repeated)).status_code == 200
        last = await ended(rig, session)
        settlement = last["settlement"]
        captured = settlement["amount_to_capture"]
        assert 1000 < captured == minor(the_charge(rig).price) <= 1500, "Monta's own limit is 15000"
        assert captured + settlement["amount_to_release"] == last["amount_authorized"] == 1500
        assert "authorizations" not in settlement, "one hold, one capture"
        assert (await kinds(rig, session["id"])).count("hold_changed") == 2
        status, late = await change(rig, session, 1500)
        assert (status, late["replayed"]) == (200, True)
        assert (await change(rig, session, 1600))[1]["code"] == "session_ended"
        bundle, _ = await evidence_of(rig, session["id"])
        assert problems(bundle) == []


async def test_a_hold_is_not_lowered_below_what_may_be_used_and_nothing_is_recorded(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await rig.pass_time(150)
        used = (await rig.session(session["id"]))["amount_used"]
        assert used > 50
        for total in (1, used // 2, used):
            status, refused = await change(rig, session, total)
            assert (status, refused["code"], refused["retryable"]) == (409, "below_used", False)
        assert (await rig.session(session["id"]))["amount_authorized"] == 2000
        assert "hold_changed" not in await kinds(rig, session["id"])
        least = used + 1
        while (await change(rig, session, least))[0] != 200:
            least += 50
        last = await ended(rig, session)
        assert used < last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) <= least < 1000
        assert last["settlement"]["shortfall"] == 0


async def test_a_stop_that_a_lower_hold_may_need_is_due_before_all_other_work(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await rig.pass_time(120)
        assert not await next_stop(rig)
        assert (await change(rig, session, 1000))[0] == 200
        assert await next_stop(rig)


async def next_stop(rig: Rig) -> bool:
    """Whether a stop may be due at once."""
    async with rig.context.database.read() as connection:
        due_at = await leases.next_due(connection, stops=True)
    return due_at is not None and due_at <= rig.clock.now()


async def test_what_names_no_hold_is_beyond_the_policy_or_says_both_is_refused(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await allow_top_ups(rig, 2500)
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 1000)
        await rig.pass_time(30)
        assert (await more(rig, session, 500))[0] == 201
        status, refused = await change(rig, session, 900, "T-unknown")
        assert (status, refused["errors"][0]["field"]) == (422, "reference")
        status, refused = await change(rig, session, 2001)
        assert (status, refused["code"]) == (409, "top_up_not_possible")
        for body in ({}, {"amount": 5, "amount_total": 5}):
            path = f"/v1/payment-sessions/{session['id']}/authorizations"
            answer = await rig.call("POST", path, body={"reference": "A-1"} | body)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "amount")
        soon = (rig.clock.now() + timedelta(seconds=30)).isoformat()
        status, refused = await change(rig, session, 1100, expires_at=soon)
        assert (status, refused["errors"][0]["field"]) == (422, "expires_at")
        assert (await change(rig, session, 700, "T-1"))[0] == 200
        assert (await more(rig, session, 500))[0] == 200, "the top-up of before, with its amount of then"
        assert (await rig.session(session["id"]))["amount_authorized"] == 1700


async def test_changes_of_one_hold_and_a_stop_at_the_same_moment_are_distinguished_by_the_rows_lock(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await charging(rig)
        asked = [change(rig, session, 1100 + 100 * (n % 4)) for n in range(12)]
        answers, _ = await asyncio.gather(asyncio.gather(*asked), rig.stop(session["id"]))
        assert {status for status, _ in answers} <= {200, 409}
        assert {body["code"] for status, body in answers if status == 409} <= {"session_ended"}
        last = await ended(rig, session)
        changes = [line for line in await rig.journal(session["id"]) if line["kind"] == "hold_changed"]
        totals = [1000, *(line["detail"]["amount_minor"] for line in changes)]
        assert [line["detail"]["before_minor"] for line in changes] == totals[:-1]
        assert last["amount_authorized"] == totals[-1]
