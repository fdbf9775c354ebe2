"""Charges that no session knows, as operations see them and are done with them."""

import pytest

from app.domain.charge import ChargeReport, ChargeState
from app.domain.ids import ChargeId
from app.domain.orphan import ListedCharge, Origin
from app.store import orphans
from tests.api.house import House, Household, assert_problem, open_house

pytestmark = pytest.mark.anyio

LOST = "ps_01kaq4nbt5y3v1z9c7p5a3s1df"


async def lose(house: House, charge_id: str, whose: Household | None = None) -> None:
    """A charge of the first operator's turns up, unless it is told whose."""
    now = house.tools.clock.now()
    report = ChargeReport(
        id=ChargeId(charge_id),
        state=ChargeState.COMPLETED,
        seen_at=now,
        updated_at=now,
        partner_external_id=LOST,
        energy_wh=5310,
    )
    charge = ListedCharge(report, Origin(card_last4="4242", display_reference="K7QM-4TXP"))
    async with house.tools.database.transaction() as connection:
        await orphans.keep(connection, (whose or house.one).operator.operator_id, charge, doubt=None)


async def test_F81_operations_see_orphans_close_them_and_are_counted_for_them(database_url: str) -> None:
    async with open_house(database_url) as house:
        await lose(house, "77")
        key = house.all_ops.api_key
        (shown,) = (await house.call("GET", "/v1/ops/orphans", key=key)).json()["data"]
        assert (shown["charge_id"], shown["session_reference"], shown["card_last4"]) == ("77", LOST, "4242")
        summary = (await house.call("GET", "/v1/ops/summary", key=key)).json()
        assert sorted(o["open_orphans"] for o in summary["operators"]) == [0, 1]
        metrics = (await house.call("GET", "/metrics", key="")).text
        assert f'tapwatt_orphan_charges{{operator="{house.one.operator.operator_id}"}} 1.0' in metrics
        done = await house.call("POST", "/v1/ops/orphans/77/close", key=key, body={"reason": "by hand"})
        assert (done.status_code, done.json()["closed_because"]) == (200, "by hand")
        again = await house.call("POST", "/v1/ops/orphans/77/close", key=key, body={"reason": "again"})
        assert again.json()["closed_because"] == "by hand"
        assert (await house.call("GET", "/v1/ops/orphans", key=key)).json()["data"] == []
        kept = (await house.call("GET", "/v1/ops/orphans?closed=true", key=key)).json()["data"]
        assert [o["charge_id"] for o in kept] == ["77"]


async def test_an_operators_key_sees_and_closes_its_own_orphans_only(database_url: str) -> None:
    async with open_house(database_url) as house:
        await lose(house, "77")
        other = house.other.ops.api_key
        assert (await house.call("GET", "/v1/ops/orphans", key=other)).json()["data"] == []
        answer = await house.call("POST", "/v1/ops/orphans/77/close", key=other, body={"reason": "mine"})
        assert_problem(answer, 404, "not_found")
        own = (await house.call("GET", "/v1/ops/orphans", key=house.one.ops.api_key)).json()["data"]
        assert [o["closed_at"] for o in own] == [None]


async def test_a_charge_id_that_two_operators_have_is_closed_for_the_one_that_is_named(
    database_url: str,
) -> None:
    async with open_house(database_url) as house:
        await lose(house, "77")
        await lose(house, "77", house.other)
        key, reason = house.all_ops.api_key, {"reason": "by hand"}
        one, other = (each.operator.operator_id for each in (house.one, house.other))
        answer = await house.call("POST", "/v1/ops/orphans/77/close", key=key, body=reason)
        assert_problem(answer, 422, "invalid_request")
        assert all(part in answer.json()["detail"] for part in (one, other, "?operator_id="))
        path = f"/v1/ops/orphans/77/close?operator_id={other}"
        assert_problem(
            await house.call("POST", path, key=house.one.ops.api_key, body=reason), 404, "not_found"
        )
        done = await house.call("POST", path, key=key, body=reason)
        assert (done.status_code, done.json()["operator_id"]) == (200, other)
        left = (await house.call("GET", "/v1/ops/orphans", key=key)).json()["data"]
        assert [orphan["operator_id"] for orphan in left] == [one]
