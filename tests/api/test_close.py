"""app/api/routes/ops: Operations end a session: permissions, refusals, and what the terminal sees afterwards."""

import pytest

from tests.api.service import assert_problem, fields_of, open_service

pytestmark = pytest.mark.anyio

PATH = "/v1/ops/payment-sessions"
REASON = {"reason": "charge point taken away"}


async def test_F109_a_session_is_ended_and_its_terminal_and_the_next_card_see_it(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize("101", "A-1")
        await service.charging(session["id"], "77")
        path = f"{PATH}/{session['id']}/close"
        answer = await service.call("POST", path, {"amount": 1200} | REASON, key=service.all_ops.api_key)
        assert answer.status_code == 200, answer.text
        closed = answer.json()
        assert (closed["status"], closed["stop_reason"]) == ("completed", "operations")
        assert [extra["id"] for extra in closed["duplicate_charges"]] == ["77"], "stopped until it has ended"
        again = await service.call("POST", path, {"amount": 1200} | REASON, key=service.all_ops.api_key)
        assert again.json() == closed
        seen = (await service.call("GET", f"/v1/payment-sessions/{session['id']}")).json()
        assert seen["settlement"]["amount_to_capture"] == 1200
        assert seen["settlement"]["amount_to_release"] == 3800
        report = {"outcome": "captured", "amount": 1200, "reference": "psp-1"}
        told = await service.call("POST", f"/v1/payment-sessions/{session['id']}/captures", report)
        assert told.json()["settlement"]["status"] == "confirmed"
        await service.authorize("101", "A-2")
        journal = (
            await service.call("GET", f"{PATH}/{session['id']}/journal", key=service.all_ops.api_key)
        ).json()
        (line,) = [each for each in journal["data"] if each["kind"] == "closed_by_operations"]
        assert line["source"] == "operations"
        assert line["detail"]["reason"] == REASON["reason"]
        assert line["detail"]["by"].startswith("opk_")


async def test_F109_who_does_not_see_a_session_cannot_end_it(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        path = f"{PATH}/{session['id']}/close"
        body = {"amount": 0} | REASON
        assert_problem(await service.call("POST", path, body), 401, "unauthorized")
        assert_problem(await service.call("POST", path, body, key=""), 401, "unauthorized")
        assert_problem(
            await service.call("POST", path, body, key=service.other.ops.api_key), 404, "not_found"
        )
        assert (await service.call("GET", f"/v1/payment-sessions/{session['id']}")).json()[
            "settlement"
        ] is None


async def test_F109_an_amount_that_was_never_authorized_or_no_reason_is_refused(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        path = f"{PATH}/{session['id']}/close"
        for body, field in (
            ({"amount": 5001} | REASON, "amount"),
            ({"amount": -1} | REASON, "amount"),
            ({"amount": 1.5} | REASON, "amount"),
            (REASON, "amount"),
            ({"amount": 1}, "reason"),
            ({"amount": 1, "reason": ""}, "reason"),
        ):
            answer = await service.call("POST", path, body, key=service.all_ops.api_key)
            assert fields_of(assert_problem(answer, 422, "invalid_request")) == [field]


async def test_F109_an_ended_session_stays_as_it_ended(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        await service.settle(session["id"], 1234)
        path = f"{PATH}/{session['id']}/close"
        for amount in (0, 1234, 5000):
            answer = await service.call(
                "POST", path, {"amount": amount} | REASON, key=service.all_ops.api_key
            )
            assert_problem(answer, 409, "session_ended")
