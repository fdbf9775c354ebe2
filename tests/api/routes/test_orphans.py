"""Charges without a session, as operations see and close them."""

import pytest

from tests.api.orphan_charges import LOST, lose
from tests.api.service import assert_problem, open_service

pytestmark = pytest.mark.anyio


async def test_F81_operations_see_orphans_close_them_and_are_counted_for_them(database_url: str) -> None:
    async with open_service(database_url) as service:
        await lose(service, "77")
        key = service.all_ops.api_key
        (shown,) = (await service.call("GET", "/v1/ops/orphans", key=key)).json()["data"]
        assert (shown["charge_id"], shown["session_reference"], shown["card_last4"]) == ("77", LOST, "4242")
        summary = (await service.call("GET", "/v1/ops/summary", key=key)).json()
        assert sorted(o["open_orphans"] for o in summary["operators"]) == [0, 1]
        metrics = (await service.call("GET", "/metrics", key=service.all_ops.api_key)).text
        assert f'tapwatt_orphan_charges{{operator="{service.one.operator.operator_id}"}} 1.0' in metrics
        done = await service.call("POST", "/v1/ops/orphans/77/close", key=key, body={"reason": "by hand"})
        assert (done.status_code, done.json()["closed_because"]) == (200, "by hand")
        assert done.json()["closed_by"] == f"{service.all_ops.key_id} (operations)"
        again = await service.call("POST", "/v1/ops/orphans/77/close", key=key, body={"reason": "again"})
        assert again.json()["closed_because"] == "by hand"
        assert (await service.call("GET", "/v1/ops/orphans", key=key)).json()["data"] == []
        kept = (await service.call("GET", "/v1/ops/orphans?closed=true", key=key)).json()["data"]
        assert [o["charge_id"] for o in kept] == ["77"]


async def test_an_operators_key_sees_and_closes_its_own_orphans_only(kept_apart: str) -> None:
    async with open_service(kept_apart) as service:
        await lose(service, "77")
        other = service.other.ops.api_key
        assert (await service.call("GET", "/v1/ops/orphans", key=other)).json()["data"] == []
        answer = await service.call("POST", "/v1/ops/orphans/77/close", key=other, body={"reason": "mine"})
        assert_problem(answer, 404, "not_found")
        own = (await service.call("GET", "/v1/ops/orphans", key=service.one.ops.api_key)).json()["data"]
        assert [o["closed_at"] for o in own] == [None]


async def test_a_charge_id_that_two_operators_have_is_closed_for_the_one_that_is_named(
    kept_apart: str,
) -> None:
    async with open_service(kept_apart) as service:
        await lose(service, "77")
        await lose(service, "77", service.other)
        key, reason = service.all_ops.api_key, {"reason": "by hand"}
        one, other = (each.operator.operator_id for each in (service.one, service.other))
        answer = await service.call("POST", "/v1/ops/orphans/77/close", key=key, body=reason)
        assert_problem(answer, 422, "invalid_request")
        assert all(part in answer.json()["detail"] for part in (one, other, "?operator_id="))
        path = f"/v1/ops/orphans/77/close?operator_id={other}"
        assert_problem(
            await service.call("POST", path, key=service.one.ops.api_key, body=reason), 404, "not_found"
        )
        done = await service.call("POST", path, key=key, body=reason)
        assert (done.status_code, done.json()["operator_id"]) == (200, other)
        left = (await service.call("GET", "/v1/ops/orphans", key=key)).json()["data"]
        assert [orphan["operator_id"] for orphan in left] == [one]


async def test_an_operator_that_cannot_be_one_is_refused_and_not_looked_up(database_url: str) -> None:
    async with open_service(database_url) as service:
        path = "/v1/ops/orphans/77/close?operator_id=a%00b"
        answer = await service.call("POST", path, {"reason": "r"}, key=service.all_ops.api_key)
        assert_problem(answer, 422, "invalid_request")
