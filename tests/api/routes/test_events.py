"""Tests of app/api/routes/events: a terminal's own events, in an order in which none is ever passed over."""

import asyncio

import pytest
from structlog.testing import capture_logs

from app.domain.events.event import EventType
from app.domain.units.ids import OperatorId, TerminalId
from app.flows.events.manage_endpoints import add_endpoint
from app.store.db.connection import Connection
from app.store.events import outbox
from app.store.events.outbox import Event
from tests.api.service import Json, Service, Tenant, assert_problem, open_service

pytestmark = pytest.mark.anyio

URL = "https://maker.test/events"


async def listen(service: Service, tenant: Tenant) -> None:
    await add_endpoint(service.context, url=URL, terminal_id=TerminalId(tenant.terminal.id))


async def listed(service: Service, query: str = "", tenant: Tenant | None = None) -> Json:
    key = (tenant or service.one).terminal.api_key
    answer = await service.call("GET", f"/v1/events{query}", key=key)
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    return page


async def happen(service: Service, connection: Connection, name: str, tenant: Tenant | None = None) -> None:
    """Writes an event of the tenant's terminal."""
    of = tenant or service.one
    event = Event(
        id=f"evt_{name:0>26}",
        operator_id=OperatorId(of.operator.operator_id),
        terminal_id=TerminalId(of.terminal.id),
        type=EventType.CHARGE_POINT_CHANGED,
        created_at=service.context.clock.now(),
        data=f'{{"id":"{name}"}}',
    )
    await outbox.record(connection, [event])


async def test_what_was_missed_is_listed_page_by_page(database_url: str) -> None:
    async with open_service(database_url) as service:
        assert await listed(service) == {"data": [], "next_cursor": None}
        await listen(service, service.one)
        session = await service.authorize("101", "A-1")
        await service.charging(session["id"], "77")
        (event,) = (await listed(service))["data"]
        shown = (await service.call("GET", f"/v1/payment-sessions/{session['id']}")).json()
        assert set(event) == {"id", "type", "timestamp", "data"}
        assert (event["type"], event["data"]) == ("payment_session.charging", shown)
        async with service.context.database.transaction() as connection:
            for name in "abc":
                await happen(service, connection, name)
        first = await listed(service, f"?after={event['id']}&limit=2")
        assert [each["data"]["id"] for each in first["data"]] == ["a", "b"]
        second = await listed(service, f"?after={first['next_cursor']}&limit=2")
        assert ([each["data"]["id"] for each in second["data"]], second["next_cursor"]) == (["c"], None)
        assert (await listed(service, f"?after={second['data'][-1]['id']}"))["data"] == []


async def test_an_event_that_is_committed_late_is_not_passed_over(database_url: str) -> None:
    async with open_service(database_url) as service:
        await listen(service, service.one)
        database = service.context.database
        async with database.transaction() as slow:
            await happen(service, slow, "a")
            async with database.transaction() as quick:
                await happen(service, quick, "b")
            (seen,) = (await listed(service))["data"]
            assert seen["data"]["id"] == "b"
        after = await listed(service, f"?after={seen['id']}")
        assert [each["data"]["id"] for each in after["data"]] == ["a"]
        lists = await asyncio.gather(*(listed(service) for _ in range(5)))
        assert [[each["data"]["id"] for each in page["data"]] for page in lists] == [["b", "a"]] * 5


async def test_another_terminals_event_is_none_and_on_record(database_url: str) -> None:
    async with open_service(database_url) as service:
        for tenant in (service.one, service.other):
            await listen(service, tenant)
            async with service.context.database.transaction() as connection:
                await happen(service, connection, f"of{tenant.terminal.id[-1]}", tenant)
        (theirs,) = (await listed(service, tenant=service.other))["data"]
        (own,) = (await listed(service))["data"]
        assert own["id"] != theirs["id"]
        with capture_logs() as logged:
            answer = await service.call("GET", f"/v1/events?after={theirs['id']}")
        assert_problem(answer, 404, "not_found")
        noted = [line for line in logged if line.get("stream") == "security"]
        assert [(line["event"], line["event_id"]) for line in noted] == [("foreign_access", theirs["id"])]
        unknown = await service.call("GET", f"/v1/events?after=evt_{'0' * 26}")
        assert_problem(unknown, 404, "not_found")
        wrong = await service.call("GET", "/v1/events?after=77&limit=1000")
        assert_problem(wrong, 422, "invalid_request")
        assert {each["field"] for each in wrong.json()["errors"]} == {"after", "limit"}
