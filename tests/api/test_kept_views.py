"""Tests of app/api/kept_views: what operations list is made once for each state of a row, and is never stale."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.api.kept_views import BESIDE_BYTES, MOST_BYTES, KeptViews
from app.domain.units.ids import SessionId
from app.store.session_states import SessionState
from tests.api.service import Service, open_service
from tests.domain.sessions import T0

STATE = SessionState(SessionId("ps_1"), T0, 700, 3, T0)
LIST = "/v1/ops/payment-sessions"


def test_a_view_is_found_by_the_very_state_that_it_was_made_of() -> None:
    views = KeptViews()
    assert views.get(STATE) is None
    assert views.put(STATE, b"3") == views.get(STATE) == b"3"
    later = STATE.updated_at + timedelta(seconds=1)
    for other in (
        replace(STATE, xmin=701),
        replace(STATE, version=4),
        replace(STATE, updated_at=later),
        replace(STATE, id=SessionId("ps_2")),
    ):
        assert views.get(other) is None
    views.put(replace(STATE, xmin=701), b"4")
    assert views.get(STATE) is None


def test_the_bytes_of_kept_views_are_bounded() -> None:
    views, size = KeptViews(), MOST_BYTES // 10 - BESIDE_BYTES
    for number in (*range(13), 12, 12):
        views.put(replace(STATE, id=SessionId(f"ps_{number}")), bytes(size))
    assert len(views) == 10
    assert views.get(replace(STATE, id=SessionId("ps_2"))) is None
    assert views.get(replace(STATE, id=SessionId("ps_12"))) == bytes(size)
    views.put(STATE, bytes(MOST_BYTES))
    assert len(views) == 0


async def shown(service: Service, name: str, query: str = "") -> dict[object, object]:
    """What the list shows in one field, by session."""
    answer = await service.call("GET", f"{LIST}{query}", key=service.all_ops.api_key)
    return {item["id"]: item[name] for item in answer.json()["data"]}


@pytest.mark.anyio
async def test_a_list_shows_a_change_at_once_also_one_without_a_new_version(database_url: str) -> None:
    async with open_service(database_url) as service:
        one, two, three = [(await service.authorize(str(101 + n), f"A-{n}"))["id"] for n in range(3)]
        assert await shown(service, "energy_wh") == {one: 0, two: 0, three: 0}
        views: KeptViews = service.apps[0].state.views
        assert len(views) == 3
        await service.charging(two, "77", 1234)
        assert await shown(service, "energy_wh", "?limit=3") == {one: 0, two: 1234, three: 0}
        async with service.context.database.transaction() as connection:
            await connection.raw.execute(
                "UPDATE payment_sessions SET body = jsonb_set(body, '{metadata}', '{\"lane\": \"9\"}') WHERE id = $1",
                one,
            )
        assert await shown(service, "metadata") == {one: {"lane": "9"}, two: {}, three: {}}
        filtered = await shown(service, "metadata", "?needs_attention=false&status=authorized")
        assert filtered == {one: {"lane": "9"}, three: {}}


@pytest.mark.anyio
async def test_a_terminals_view_is_encoded_once_and_shows_every_change(database_url: str) -> None:
    async with open_service(database_url) as service:
        one = (await service.authorize("101", "A-1"))["id"]
        path = f"/v1/payment-sessions/{one}"
        views: KeptViews = service.apps[0].state.own_views
        first = await service.call("GET", path)
        state, body = views.of(SessionId(one), "en") or (None, b"")
        assert first.content == body
        await service.call("GET", path)
        assert (views.of(SessionId(one), "en") or (None, b""))[1] is body
        await service.charging(one, "77", 1234)
        assert (await service.call("GET", path)).json()["energy_wh"] == 1234
        seen = views.of(SessionId(one), "en")
        assert seen is not None
        assert seen[0] != state
        sibling = await service.add_terminal(service.one.operator.operator_id, "101")
        for key in (service.other.terminal.api_key, sibling.api_key):
            assert (await service.call("GET", path, key=key)).status_code == 404, (
                "a kept view is its terminal's only"
            )


@pytest.mark.anyio
async def test_reads_that_arrive_together_show_each_terminal_its_own_sessions_only(database_url: str) -> None:
    async with open_service(database_url) as service:
        sibling = await service.add_terminal(service.one.operator.operator_id, "104")
        one, two = [(await service.authorize(str(101 + n), f"A-{n}"))["id"] for n in range(2)]
        keys = (service.one.terminal.api_key, sibling.api_key, service.other.terminal.api_key)

        async def seen() -> list[list[object]]:
            paths = [f"/v1/payment-sessions/{each}" for each in (one, two, one)]
            calls = [service.call("GET", path, key=key) for key in keys for path in paths]
            answers = [answer.json() for answer in await asyncio.gather(*calls)]
            shown = [answer.get("energy_wh", answer.get("code")) for answer in answers]
            return [shown[:3], shown[3:6], shown[6:]]

        hidden = ["not_found"] * 3
        assert await seen() == [[0, 0, 0], hidden, hidden]
        await service.charging(two, "77", 1234)
        assert await seen() == [[0, 1234, 0], hidden, hidden]
        async with service.context.database.transaction() as connection:
            await connection.raw.execute("UPDATE payment_sessions SET body = '{}' WHERE id = $1", one)
        assert await seen() == [["internal_error", 1234, "internal_error"], hidden, hidden], (
            "an unreadable session harms no neighbour"
        )
