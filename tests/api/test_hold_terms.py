"""Holds that nothing is started on: absurd times, and amounts above the ceiling; said before anything is recorded."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.holds import hold_deadline
from app.domain.ids import SessionId
from app.flows import provision
from app.store import payment_sessions
from tests.api.house import House, Json, assert_problem, fields_of, open_house, payment
from tests.api.test_replays import wait

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


def told(house: House, **off: float) -> str:
    return (house.tools.clock.now() + timedelta(**off)).isoformat()


async def refused(house: House, held: Json) -> list[str]:
    answer = await house.call("POST", PATH, payment("101", "A-9", authorization=held))
    problem = assert_problem(answer, 422, "invalid_request")
    assert all(str(value) not in answer.text for value in held.values())
    return fields_of(problem)


async def test_F102_a_hold_with_absurd_times_is_refused_before_anything_starts(database_url: str) -> None:
    async with open_house(database_url) as house:
        for authorized_at in (
            "1970-01-01T00:00:00Z",
            "2000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            told(house, days=-7),
            told(house, days=-2.5),
            told(house, days=30),
        ):
            assert await refused(house, {"authorized_at": authorized_at}) == ["authorization.authorized_at"]
        for expires_at in (
            "1970-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            told(house, seconds=-1),
            told(house, seconds=60),
        ):
            assert await refused(house, {"expires_at": expires_at}) == ["authorization.expires_at"]
        before = {"authorized_at": told(house, hours=1), "expires_at": told(house, minutes=30)}
        assert await refused(house, before)
        assert await house.count() == 0


async def test_F102_an_expiry_in_the_far_future_is_no_longer_than_the_policys_days(database_url: str) -> None:
    async with open_house(database_url) as house:
        session = await house.authorize("101", "A-1", authorization={"expires_at": "9999-12-31T23:59:59Z"})
        async with house.tools.database.transaction() as connection:
            found = await payment_sessions.get(connection, SessionId(session["id"]))
        assert found is not None
        days = timedelta(days=house.tools.policy.hold_days)
        assert hold_deadline(found, house.tools.policy) == house.tools.clock.now() + days


async def test_F102_the_same_call_again_finds_its_session_also_when_its_hold_is_over(
    database_url: str,
) -> None:
    async with open_house(database_url) as house:
        held = {"authorized_at": told(house, seconds=-1), "expires_at": told(house, days=1)}
        body = payment("101", "A-1", authorization=held)
        first = await house.call("POST", PATH, body)
        more = {"reference": "A-2", "amount": 100, "expires_at": held["expires_at"]}
        added = await house.call("POST", f"{PATH}/{first.json()['id']}/authorizations", more)
        assert (first.status_code, added.status_code) == (201, 201)
        await wait(house, timedelta(days=3))
        again = await house.call("POST", PATH, body)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        added = await house.call("POST", f"{PATH}/{first.json()['id']}/authorizations", more)
        assert added.status_code == 200


@pytest.mark.parametrize(
    ("currency", "most"), [("EUR", 1_000_00), ("JPY", 200_000), ("SEK", 10_000_00), ("IDR", 50_000_000_00)]
)
async def test_F105_a_hold_above_the_ceiling_is_refused(database_url: str, currency: str, most: int) -> None:
    async with open_house(database_url) as house:
        for amount in (most + 1, 100_000 * most // 100, 10**12):
            assert await refused(house, {"currency": currency, "amount": amount}) == ["authorization.amount"]
        held: dict[str, Any] = {"currency": currency, "amount": most}
        answer = await house.call("POST", PATH, payment("101", "A-1", authorization=held))
        assert answer.status_code == 201, answer.text


async def test_F105_top_ups_count_and_the_operator_may_have_another_ceiling(database_url: str) -> None:
    async with open_house(database_url) as house:
        await provision.set_hold_max(house.tools, house.one.operator.operator_id, 50)
        assert await refused(house, {"amount": 50_01}) == ["authorization.amount"]
        session = await house.authorize("101", "A-1", authorization={"amount": 40_00})
        path = f"{PATH}/{session['id']}/authorizations"
        answer = await house.call("POST", path, {"reference": "A-2", "amount": 10_01})
        assert fields_of(assert_problem(answer, 422, "invalid_request")) == ["amount"]
        late = {"reference": "A-3", "amount": 1_00, "expires_at": told(house, seconds=30)}
        assert fields_of(assert_problem(await house.call("POST", path, late), 422, "invalid_request")) == [
            "expires_at"
        ]
        assert (await house.call("POST", path, {"reference": "A-4", "amount": 10_00})).status_code == 201
        await provision.set_hold_max(house.tools, house.one.operator.operator_id, None)
        await house.authorize("102", "A-5", authorization={"amount": 1_000_00})
