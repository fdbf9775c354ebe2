"""Heartbeats of terminals, and the availability of a month by API, command line and metrics."""

import asyncio
import json
from datetime import timedelta

import pytest

from app.domain.alerts.causes import of_operator
from app.store import alerts
from tests.api.service import Service, assert_problem, open_service, wait
from tests.build_context import SECRET_KEY
from tests.commands import invoke

PATH = "/v1/ops/availability"


async def says(service: Service, state: str, message: str | None = None) -> None:
    answer = await service.call("PUT", "/v1/terminal/status", {"state": state, "message": message})
    assert answer.status_code == 200, answer.text


async def two_hours_away(service: Service) -> None:
    """An hour online, two silent, then out of order for half an hour, and on."""
    for _ in range(15):
        await says(service, "online")
        await wait(service, timedelta(minutes=4))
    await wait(service, timedelta(hours=2))
    await says(service, "out_of_order", "no paper")
    await wait(service, timedelta(minutes=30))


@pytest.mark.anyio
async def test_a_terminal_that_was_away_is_found(database_url: str) -> None:
    async with open_service(database_url) as service:
        await two_hours_away(service)
        key = service.one.ops.api_key
        found = (await service.call("GET", f"{PATH}?longer_than_min=60", key=key)).json()
        (terminal,) = found["terminals"]
        assert [(o["cause"], o["seconds"]) for o in terminal["outages"]] == [("offline", 124 * 60)]
        assert (terminal["observed_s"], terminal["out_s"]) == (210 * 60, 154 * 60)
        assert terminal["available_percent"] == "26.66"
        every = (await service.call("GET", PATH, key=key)).json()
        assert [o["ended_at"] is None for o in every["terminals"][0]["outages"]] == [False, True]
        assert {p["available_percent"] for p in every["charge_points"]} == {None}, "Monta showed none yet"
        theirs = (await service.call("GET", PATH, key=service.other.ops.api_key)).json()
        assert [t["outages"] for t in theirs["terminals"]] == [[]]
        earlier = (await service.call("GET", f"{PATH}?month=2026-10", key=key)).json()
        assert [t["available_percent"] for t in earlier["terminals"]] == [None]
        assert_problem(await service.call("GET", f"{PATH}?month=2026-13", key=key), 422, "invalid_request")
        metrics = (await service.call("GET", "/metrics", key=service.all_ops.api_key)).text
        assert 'tapwatt_out_of_service{what="terminal"} 1.0' in metrics
        async with service.context.database.read() as connection:
            accounts = await alerts.health_of_operators(connection)
        (alert,) = [c for each in accounts for c in of_operator(each, service.context.clock.now())]
        assert (alert.code, alert.operator_id) == ("terminal_offline", service.one.operator.operator_id)
        assert service.one.terminal.id in alert.detail


@pytest.mark.anyio
async def test_a_heartbeat_is_checked(database_url: str) -> None:
    async with open_service(database_url) as service:
        path = "/v1/terminal/status"
        assert_problem(await service.call("PUT", path, {"state": "asleep"}), 422, "invalid_request")
        card = {"state": "online", "message": "4111 1111 1111 1111"}
        assert_problem(await service.call("PUT", path, card), 422, "card_data_not_allowed")
        said = (await service.call("PUT", path, {"state": "online"})).json()
        assert (said["state"], said["message"]) == ("online", None)
        assert said["offline_after"] > said["seen_at"]


def test_the_command_names_what_was_out_for_more_than_an_hour(database_url: str) -> None:
    async def prepare() -> None:
        async with open_service(database_url) as service:
            await two_hours_away(service)

    asyncio.run(prepare())
    settings = {"TAPWATT_DATABASE_URL": database_url, "TAPWATT_SECRET_KEY": SECRET_KEY}
    command = ["outages", "--month", "2026-11", "--json"]
    listed = invoke(command, env=settings)
    assert listed.exit_code == 0, repr(listed.exception)
    found = json.loads(listed.output)["data"]
    assert ("terminal", "offline", "124") in {(r["what"], r["cause"], r["minutes"]) for r in found}
    table = invoke(["outages", "--month", "2026-11"], env=settings)
    assert (table.exit_code, "offline" in table.output) == (0, True), table.output
    none = invoke(["outages", "--month", "2026-09"], env=settings)
    assert none.output == "Nothing was out for more than 60 minutes.\n"
    assert invoke(["outages", "--month", "11/2026"], env=settings).exit_code == 1
