"""Tests of app/api/routes/terminal.

Repeated and late calls, and wrong terminal clocks: nothing happens twice, and our times are ours.
"""

from datetime import timedelta

import pytest

from app.domain.session.holds import hold_deadline
from app.domain.units.ids import SessionId
from app.store.sessions import payment_sessions
from tests.api.service import Json, open_service, payment, wait

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


async def test_F3_days_after_the_end_the_same_call_shows_the_session_as_it_ended(database_url: str) -> None:
    key = {"Idempotency-Key": "k-1"}
    async with open_service(database_url) as service:
        first = (await service.call("POST", PATH, payment(), headers=key)).json()
        await service.settle(first["id"], 1234)
        await wait(service, timedelta(days=40))
        again = await service.call("POST", PATH, payment(), headers=key)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
        assert again.json()["id"] == first["id"]
        assert again.json()["settlement"]["amount_to_capture"] == 1234
        assert await service.count() == 1


async def test_F12_a_conversation_that_is_replayed_as_a_whole_changes_nothing(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize(authorization={"card": {"fingerprint": "card one"}})
        said: list[tuple[str, Json | None]] = [
            (PATH, payment(authorization={"card": {"fingerprint": "card one"}})),
            (f"{PATH}/{session['id']}/stop", None),
            (f"{PATH}/{session['id']}/captures", {"outcome": "captured", "amount": 1234, "reference": "r"}),
        ]
        for path, body in said[:2]:
            assert (await service.call("POST", path, body)).status_code in (200, 202)
        await service.settle(session["id"], 1234)
        assert (await service.call("POST", *said[2])).status_code == 200
        before = (await service.call("GET", f"{PATH}/{session['id']}")).json()
        assert before["settlement"]["status"] == "confirmed"
        for passed in (timedelta(0), timedelta(days=3)):
            await wait(service, passed)
            for path, body in said:
                answer = await service.call("POST", path, body)
                assert answer.status_code in (200, 202), answer.text
                if passed == timedelta(0):
                    assert answer.json() == before
        settlement = (await service.call("GET", f"{PATH}/{session['id']}")).json()["settlement"]
        assert settlement == before["settlement"]
        assert await service.count() == 1


@pytest.mark.parametrize("off", [timedelta(hours=9), timedelta(hours=-9)])
async def test_F13_a_terminal_whose_clock_is_hours_off_moves_no_time_of_ours(
    database_url: str, off: timedelta
) -> None:
    async with open_service(database_url) as service:
        told = (service.context.clock.now() + off).isoformat()
        right = await service.authorize("101", "A-1")
        wrong = await service.authorize("102", "A-2", authorization={"authorized_at": told})
        for moment in ("created_at", "start_deadline", "status"):
            assert wrong[moment] == right[moment]
        async with service.context.database.transaction() as connection:
            found = await payment_sessions.get(connection, SessionId(wrong["id"]))
        assert found is not None
        last = service.context.clock.now() + timedelta(days=service.context.policy.hold_days)
        assert hold_deadline(found, service.context.policy) == min(last, last + off), (
            "never later than by our clock"
        )


async def test_F73_F79_a_terminal_that_was_away_for_days_finds_its_settlement_and_its_late_capture_is_reported(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        await service.settle(session["id"], 1234)
        await wait(service, timedelta(days=3))
        found = (await service.call("GET", f"{PATH}?reference=A-1")).json()["data"][0]
        assert found["settlement"]["amount_to_capture"] == 1234
        done = {"outcome": "captured", "amount": 1234, "reference": "psp-1"}
        answer = await service.call("POST", f"{PATH}/{session['id']}/captures", done)
        assert (answer.status_code, answer.json()["settlement"]["status"]) == (200, "confirmed")
        ops = await service.call(
            "GET", f"/v1/ops/payment-sessions/{session['id']}", key=service.all_ops.api_key
        )
        assert any("after the hold had expired" in item["detail"] for item in ops.json()["attention"])
