"""Tests of app/flows/terminal/request_stop.

POST /v1/stop-requests: one card, its sessions, and which of them is meant (F111).
"""

from typing import Any

import pytest

from app.domain.session.payment_session import Status
from tests.api.service import Json, Service, assert_problem, fields_of, open_service

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"
STOP = "/v1/stop-requests"
CARD = {"fingerprint": "card one", "account_reference": "PAR-1"}


async def of_card(service: Service, point: str, reference: str, **card: Any) -> Json:
    return await service.authorize(point, reference, authorization={"card": card or CARD})


async def stop_requested(service: Service, session: Json) -> bool:
    """Whether a stop was requested."""
    journal = await service.call(
        "GET", f"/v1/ops/payment-sessions/{session['id']}/journal", key=service.all_ops.api_key
    )
    return "stop_requested" in [line["kind"] for line in journal.json()["data"]]


async def test_F111_with_several_sessions_of_one_card_nothing_is_stopped_until_one_is_named(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        first, second = [await of_card(service, p, r) for p, r in (("101", "A-1"), ("102", "A-2"))]
        await service.charging(first["id"], "77")
        for body in ({"card_fingerprint": "card one"}, {"card_account_reference": "PAR-1"}):
            several = assert_problem(await service.call("POST", STOP, body), 409, "several_sessions")
            assert sorted(several["sessions"], key=lambda s: s["charge_point_id"]) == [
                {"id": first["id"], "charge_point_id": "101"},
                {"id": second["id"], "charge_point_id": "102"},
            ]
            assert not await stop_requested(service, first)
            assert not await stop_requested(service, second)
        for _ in range(2):
            named = {"card_fingerprint": "card one", "charge_point_id": "101"}
            answer = await service.call("POST", STOP, named)
            assert (answer.status_code, answer.json()["id"]) == (202, first["id"])
        assert (await stop_requested(service, first), await stop_requested(service, second)) == (True, False)
        for point in ("103", "999"):
            unknown = await service.call(
                "POST", STOP, {"card_fingerprint": "card one", "charge_point_id": point}
            )
            assert_problem(unknown, 404, "not_found")
        left = await service.call("POST", STOP, {"card_fingerprint": "card one"})
        assert (left.status_code, left.json()["id"]) == (202, second["id"])


async def test_F111_a_session_that_is_ending_is_no_choice_to_make(database_url: str) -> None:
    async with open_service(database_url) as service:
        held, running = [await of_card(service, p, r) for p, r in (("101", "A-1"), ("102", "A-2"))]
        await service.charging(held["id"], "77")
        await service.change(held["id"], status=Status.FINISHING)
        for _ in range(2):
            answer = await service.call("POST", STOP, {"card_fingerprint": "card one"})
            assert answer.status_code == 202
        assert await stop_requested(service, running)


async def test_F111_card_and_phone_of_one_driver_are_matched_by_the_account_reference(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        phone = await of_card(service, "101", "A-1", fingerprint="phone", account_reference="PAR-1")
        await of_card(service, "102", "A-2", fingerprint="other", account_reference="PAR-2")
        card = {"card_fingerprint": "plastic", "card_account_reference": "PAR-1"}
        answer = await service.call("POST", STOP, card)
        assert (answer.status_code, answer.json()["id"]) == (202, phone["id"])
        for wrong in ({"card_account_reference": "phone"}, {"card_fingerprint": "PAR-1"}):
            assert_problem(await service.call("POST", STOP, wrong), 404, "not_found")
        foreign = await service.call("POST", STOP, card, key=service.other.terminal.api_key)
        assert_problem(foreign, 404, "not_found")


@pytest.mark.parametrize("body", [{}, {"charge_point_id": "101"}, {"card_fingerprint": None}])
async def test_F111_without_a_token_no_card_is_meant(database_url: str, body: Json) -> None:
    async with open_service(database_url) as service:
        await service.authorize()
        problem = assert_problem(await service.call("POST", STOP, body), 422, "invalid_request")
        assert fields_of(problem) == ["card_fingerprint"]


async def test_a_card_at_another_terminal_of_the_same_operator_stops_nothing(database_url: str) -> None:
    async with open_service(database_url) as service:
        sibling = await service.add_terminal(service.one.operator.operator_id)
        session = await of_card(service, "101", "A-1")
        await service.charging(session["id"], "77")
        for more in ({}, {"charge_point_id": "101"}):
            body = {"card_fingerprint": "card one", "card_account_reference": "PAR-1"} | more
            answer = await service.call("POST", STOP, body, key=sibling.api_key)
            assert_problem(answer, 404, "not_found")
        assert not await stop_requested(service, session)
