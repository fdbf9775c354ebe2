"""Tests of app/flows/terminal/report_capture.

What a terminal reports of a capture that its PSP refuses, and what it is told to do.
"""

import asyncio
from datetime import timedelta

import pytest

from app.domain.session.settlement import MAX_FAILURES
from tests.api.service import Json, assert_problem, open_service, wait

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


def refused(number: int, **more: object) -> Json:
    return {"outcome": "failed", "amount": 1234, "reference": f"psp-{number}"} | more


def assert_shown(session: Json, status: str, attempts: int, retry_at: str | None) -> None:
    shown = session["settlement"]
    assert (shown["status"], shown["attempts"], shown["retry_at"]) == (status, attempts, retry_at)


async def test_F74_a_terminal_learns_when_to_try_a_refused_capture_again(database_url: str) -> None:
    async with open_service(database_url) as service:
        session_id = (await service.authorize())["id"]
        settled = await service.settle(session_id, 1234)
        path = f"{PATH}/{session_id}"
        poll = asyncio.create_task(service.call("GET", f"{path}?wait=30&version={settled.version}"))
        answer = (await service.call("POST", f"{path}/captures", refused(1))).json()
        assert_shown(answer, "failed", 1, "2026-11-22T10:01:00.000Z")
        assert (await poll).json() == answer, "whoever waits learns it, too"
        await wait(service, timedelta(minutes=1))
        await service.call("POST", f"{path}/captures", refused(2))
        found = (await service.call("GET", f"{PATH}?reference=A-1")).json()["data"][0]
        assert_shown(found, "failed", 2, "2026-11-22T10:06:00.000Z")
        ops_path, key = f"/v1/ops/payment-sessions/{session_id}", service.all_ops.api_key
        (item,) = (await service.call("GET", ops_path, key=key)).json()["attention"]
        assert (item["code"], item["severity"], item["amount_at_risk"]) == ("capture_failed", "warning", 1234)
        done = {"outcome": "captured", "amount": 1234, "reference": "psp-3"}
        answer = (await service.call("POST", f"{path}/captures", done)).json()
        assert_shown(answer, "confirmed", 2, None)
        assert not answer["needs_attention"]


async def test_F74_a_final_refusal_says_not_to_try_again_and_is_kept_as_such(database_url: str) -> None:
    async with open_service(database_url) as service:
        session_id = (await service.authorize())["id"]
        await service.settle(session_id, 1234)
        path = f"{PATH}/{session_id}/captures"
        answer = (await service.call("POST", path, refused(1, retryable=False))).json()
        assert_shown(answer, "failed", 1, None)
        kept = await service.call("GET", path.replace("/v1/", "/v1/ops/"), key=service.all_ops.api_key)
        assert [capture["retryable"] for capture in kept.json()["data"]] == [False]
        assert_problem(await service.call("POST", path, refused(2, retryable="no")), 422, "invalid_request")


async def test_F74_after_many_refusals_a_capture_can_still_be_reported(database_url: str) -> None:
    async with open_service(database_url) as service:
        session_id = (await service.authorize())["id"]
        await service.settle(session_id, 1234)
        path = f"{PATH}/{session_id}/captures"
        for number in range(MAX_FAILURES):
            assert (await service.call("POST", path, refused(number))).status_code == 200
        assert_problem(await service.call("POST", path, refused(99)), 409, "capture_conflict")
        done = {"outcome": "captured", "amount": 1234, "reference": "psp-100"}
        answer = (await service.call("POST", path, done)).json()
        assert answer["settlement"]["status"] == "confirmed"
