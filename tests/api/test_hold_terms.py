"""Tests of app/flows/terminal/authorize.

Holds without a start: absurd times, and amounts above the ceiling; refused before anything is recorded.
"""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.session.holds import hold_deadline
from app.domain.units.ids import SessionId
from app.flows.admin import provision
from app.flows.admin.manage_operators import AccountChange, change_account
from app.store.sessions import payment_sessions
from tests.api.service import Json, Service, assert_problem, fields_of, open_service, payment, wait

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


def told(service: Service, **off: float) -> str:
    return (service.context.clock.now() + timedelta(**off)).isoformat()


async def refused(service: Service, held: Json) -> list[str]:
    answer = await service.call("POST", PATH, payment("101", "A-9", authorization=held))
    problem = assert_problem(answer, 422, "invalid_request")
    assert all(str(value) not in answer.text for value in held.values())
    return fields_of(problem)


async def test_F102_a_hold_with_absurd_times_is_refused_before_anything_starts(database_url: str) -> None:
    async with open_service(database_url) as service:
        for authorized_at in (
            "1970-01-01T00:00:00Z",
            "2000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            told(service, days=-7),
            told(service, days=-2.5),
            told(service, days=30),
        ):
            assert await refused(service, {"authorized_at": authorized_at}) == ["authorization.authorized_at"]
        for expires_at in (
            "1970-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            told(service, seconds=-1),
            told(service, seconds=60),
        ):
            assert await refused(service, {"expires_at": expires_at}) == ["authorization.expires_at"]
        before = {"authorized_at": told(service, hours=1), "expires_at": told(service, minutes=30)}
        assert await refused(service, before)
        assert await service.count() == 0


async def test_F102_an_expiry_in_the_far_future_is_no_longer_than_the_policys_days(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize("101", "A-1", authorization={"expires_at": "9999-12-31T23:59:59Z"})
        async with service.context.database.transaction() as connection:
            found = await payment_sessions.get(connection, SessionId(session["id"]))
        assert found is not None
        days = timedelta(days=service.context.policy.hold_days)
        assert hold_deadline(found, service.context.policy) == service.context.clock.now() + days


async def test_F102_the_same_call_again_finds_its_session_also_when_its_hold_is_over(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        held = {"authorized_at": told(service, seconds=-1), "expires_at": told(service, days=1)}
        body = payment("101", "A-1", authorization=held)
        first = await service.call("POST", PATH, body)
        more = {"reference": "A-2", "amount": 100, "expires_at": held["expires_at"]}
        added = await service.call("POST", f"{PATH}/{first.json()['id']}/authorizations", more)
        assert (first.status_code, added.status_code) == (201, 201)
        await wait(service, timedelta(days=3))
        again = await service.call("POST", PATH, body)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        added = await service.call("POST", f"{PATH}/{first.json()['id']}/authorizations", more)
        assert added.status_code == 200


@pytest.mark.parametrize(
    ("currency", "most"), [("EUR", 1_000_00), ("JPY", 200_000), ("SEK", 10_000_00), ("IDR", 50_000_000_00)]
)
async def test_F105_a_hold_above_the_ceiling_is_refused(database_url: str, currency: str, most: int) -> None:
    async with open_service(database_url) as service:
        for amount in (most + 1, 100_000 * most // 100, 10**12):
            assert await refused(service, {"currency": currency, "amount": amount}) == [
                "authorization.amount"
            ]
        held: dict[str, Any] = {"currency": currency, "amount": most}
        answer = await service.call("POST", PATH, payment("101", "A-1", authorization=held))
        assert answer.status_code == 201, answer.text


async def test_F105_top_ups_count_and_the_operator_may_have_another_ceiling(database_url: str) -> None:
    async with open_service(database_url) as service:
        await provision.set_hold_max(service.context, service.one.operator.operator_id, 50)
        assert await refused(service, {"amount": 50_01}) == ["authorization.amount"]
        session = await service.authorize("101", "A-1", authorization={"amount": 40_00})
        path = f"{PATH}/{session['id']}/authorizations"
        answer = await service.call("POST", path, {"reference": "A-2", "amount": 10_01})
        assert fields_of(assert_problem(answer, 422, "invalid_request")) == ["amount"]
        late = {"reference": "A-3", "amount": 1_00, "expires_at": told(service, seconds=30)}
        assert fields_of(assert_problem(await service.call("POST", path, late), 422, "invalid_request")) == [
            "expires_at"
        ]
        assert (await service.call("POST", path, {"reference": "A-4", "amount": 10_00})).status_code == 201
        await provision.set_hold_max(service.context, service.one.operator.operator_id, None)
        await service.authorize("102", "A-5", authorization={"amount": 1_000_00})


async def test_a_session_is_recorded_with_what_applies_at_its_operator(database_url: str) -> None:
    """A later change concerns later payments: the limit and the bill of this one rest on these."""
    async with open_service(database_url) as service:
        context, operator_id = service.context, service.one.operator.operator_id
        await change_account(context, operator_id, AccountChange(time_zone="Europe/Copenhagen"))
        await provision.set_hold_days(context, operator_id, "visa", 3)
        await provision.set_top_up_max(context, operator_id, 9_000)
        await provision.set_hold_max(context, operator_id, 100)
        await provision.set_least_settlement(context, operator_id, capture_minor=50, energy_wh=100)
        made = await service.authorize(authorization={"card": {"brand": "Visa"}}, energy_limit_wh=20_000)
        await provision.set_hold_days(context, operator_id, "visa", 5)
        async with context.database.read() as connection:
            session = await payment_sessions.get(connection, SessionId(made["id"]))
    assert session is not None
    assert session.time_zone == "Europe/Copenhagen"
    assert (session.hold_days, session.top_up_max_minor, session.hold_max_minor) == (3, 9_000, 10_000)
    assert (session.least_capture_minor, session.least_energy_wh) == (50, 100)
    assert session.energy_limit_wh == 20_000
