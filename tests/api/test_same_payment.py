"""Tests of app/flows/terminal/authorize.

The same payment sent again, with other times; and what a conflict says about the session (F111, F113).
"""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.schemas import PaymentSessionIn
from tests.api.service import TARIFF, Json, Service, assert_problem, open_service, payment
from tests.virtual_clock import VirtualClock

PATH = "/v1/payment-sessions"
NEVER = "canary-93"

times = st.none() | st.sampled_from(
    ["1970-01-01T00:00:00Z", "2026-11-22T10:00:01Z", "2099-01-01T00:00:00+14:00"]
)


@given(times, st.none() | st.just("2100-01-01T00:00:00Z"), times)
def test_F111_times_are_no_part_of_what_makes_a_payment_the_same(
    first: str | None, expires: str | None, again: str | None
) -> None:
    one = {"authorized_at": first}
    other = {"authorized_at": again, "expires_at": expires}
    told = [PaymentSessionIn.model_validate(payment(authorization=a)).payment(None) for a in (one, other)]
    assert told[0].fingerprint() == told[1].fingerprint()
    richer = {"card": {"account_reference": "PAR"}}
    changed = PaymentSessionIn.model_validate(payment(authorization=richer)).payment(None)
    assert changed.fingerprint() != told[0].fingerprint()


@pytest.mark.anyio
async def test_F111_the_same_payment_with_fresh_times_is_the_same_session(database_url: str) -> None:
    def told(minute: int, expires: str = "2026-11-24T10:00:00Z") -> Json:
        at = f"2026-11-22T10:{minute:02}:00Z"
        return payment(authorization={"authorized_at": at, "expires_at": expires})

    async with open_service(database_url) as service:
        session = await service.authorize()
        for body in (told(1), told(2, "2026-11-25T10:00:00Z"), payment()):
            again = await service.call("POST", PATH, body)
            assert (again.status_code, again.json()["id"]) == (200, session["id"])
        much_later(service)
        again = await service.call("POST", PATH, told(0))
        assert (again.status_code, again.json()["id"]) == (200, session["id"])
        new = told(0) | {"charge_point_id": "102"}
        new["authorization"]["reference"] = "A-2"
        assert_problem(await service.call("POST", PATH, new), 422, "invalid_request")


def much_later(service: Service) -> None:
    """After the hold's end."""
    clock = service.context.clock
    assert isinstance(clock, VirtualClock)
    clock.set(clock.now() + timedelta(days=9))


@pytest.mark.anyio
async def test_F111_a_top_up_sent_again_with_a_fresh_time_is_the_same(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        path = f"{PATH}/{session['id']}/authorizations"
        more: dict[str, Any] = {"reference": "A-1b", "amount": 500}
        made = await service.call("POST", path, more | {"expires_at": "2026-11-24T10:00:00Z"})
        assert made.status_code == 201
        again = await service.call("POST", path, more | {"expires_at": "2026-11-24T10:01:00Z"})
        assert (again.status_code, again.json()["amount_authorized"]) == (200, 5500)
        much_later(service)
        assert (
            await service.call("POST", path, more | {"expires_at": "2026-11-24T10:00:00Z"})
        ).status_code == 200
        new = {"reference": "A-1c", "amount": 500, "expires_at": "2026-11-24T10:00:00Z"}
        assert_problem(await service.call("POST", path, new), 422, "invalid_request")


@pytest.mark.anyio
async def test_F111_each_conflict_names_the_session_unless_it_is_another_terminals(database_url: str) -> None:
    async with open_service(database_url) as service:
        first = await service.authorize("101", "A-1")
        second = await service.authorize("102", "A-2")
        at = f"{PATH}/{first['id']}"
        assert (
            await service.call("POST", f"{at}/authorizations", {"reference": "A-1b", "amount": 1})
        ).status_code == 201
        calls: list[tuple[str, Json, str, str]] = [
            (PATH, payment("101", "A-3"), "charge_point_busy", first["id"]),
            (PATH, payment("103", "A-1"), "reference_conflict", first["id"]),
            (PATH, payment("103", "A-1b"), "reference_conflict", first["id"]),
            (
                f"{PATH}/{second['id']}/authorizations",
                {"reference": "A-1b", "amount": 1},
                "reference_conflict",
                first["id"],
            ),
            (
                f"{at}/captures",
                {"outcome": "captured", "amount": 1, "reference": "p"},
                "not_settled",
                first["id"],
            ),
        ]
        for path, body, code, named in calls:
            assert assert_problem(await service.call("POST", path, body), 409, code)["session_id"] == named
        stranger = await service.add_terminal(service.one.operator.operator_id, "101")
        busy = await service.call("POST", PATH, payment("101", "B-1"), key=stranger.api_key)
        assert "session_id" not in assert_problem(busy, 409, "charge_point_busy")
        await service.call("POST", f"{at}/stop")
        ended = await service.call("POST", f"{at}/authorizations", {"reference": "A-9", "amount": 1})
        assert assert_problem(ended, 409, "session_ended")["session_id"] == first["id"]


ECHOES: list[Json] = [
    payment("102", NEVER),
    payment(authorization={"reference": "A-1", "amount": 1, "card": {"brand": NEVER}}),
    payment(authorization={"currency": "JPY"}, tariff={**TARIFF, "id": NEVER}),
    payment(authorization={"currency": "JPY"}),
    payment(authorization={"amount": 7, "currency": "EUR"}, tariff=TARIFF),
    payment(authorization={"currency": NEVER}),
    payment() | {NEVER: 1},
    payment(authorization={NEVER: 1}),
    payment(authorization={"card": {NEVER: NEVER}}),
    payment(metadata={NEVER: 1}),
    payment(metadata={NEVER: NEVER * 30}),
    payment(metadata={NEVER: "4111111111111111"}),
    payment(metadata={NEVER + "4111 1111 1111 1111": "x"}),
    payment(tariff={**TARIFF, NEVER: "\u0000"}),
    payment(tariff={**TARIFF, "currency": NEVER, "type": NEVER}),
    payment(
        tariff={**TARIFF, "elements": [{NEVER: 1, "price_components": [{"type": NEVER, "price": NEVER}]}]}
    ),
    payment(tariff={**TARIFF, "elements": [{"restrictions": {"day_of_week": [NEVER], "start_time": NEVER}}]}),
    payment(point=NEVER),
    payment("999999999999"),
    payment(expires_at=NEVER, authorization={"expires_at": NEVER, "authorized_at": NEVER}),
]


@pytest.mark.anyio
async def test_F113_no_error_repeats_what_was_sent(database_url: str) -> None:
    async with open_service(database_url) as service:
        await service.price()
        await service.authorize("101", NEVER)
        said = [await service.call("POST", PATH, body) for body in ECHOES]
        said += [
            await service.call("GET", f"{PATH}/{NEVER}"),
            await service.call("GET", f"{PATH}?{NEVER}=1"),
            await service.call("GET", f"{PATH}/x?wait={NEVER}&version={NEVER}"),
            await service.call(
                "POST", f"{PATH}/{NEVER}/captures", {"outcome": NEVER, "amount": 1, "reference": NEVER}
            ),
            await service.call("GET", f"/v1/ops/payment-sessions?{NEVER}=1", key=service.all_ops.api_key),
            await service.call(
                "GET", f"/v1/ops/payment-sessions?status={NEVER}", key=service.all_ops.api_key
            ),
            await service.call("POST", PATH, payment(), headers={"Idempotency-Key": f"{NEVER} x"}),
            await service.call("POST", PATH, payment("102", NEVER), headers={"Content-Type": NEVER}),
            await service.call("POST", PATH, payment(), headers={"Prefer": NEVER * 20}),
            await service.call("GET", "/v1/charge-points", key=NEVER),
            await service.call("GET", f"/{NEVER}"),
            await service.call(
                "POST", PATH, headers={"Content-Type": "application/json"}, content=b'{"' + NEVER.encode()
            ),
        ]
    for answer in said:
        assert answer.status_code >= 400, answer.text
        assert NEVER not in answer.text, answer.text
        assert "JPY" not in answer.text, answer.text
        assert "999999999999" not in answer.text, answer.text
