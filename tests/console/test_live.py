"""Tests of app/console/board.

Live: rows that are patched by id and version, one read a second for all viewers, only what the key may see.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from app.api.http.live import SessionChanges
from app.console import board as module
from app.console.board import KEPT, REMEMBERED, Board
from app.console.viewers import MOST_OF_A_KEY, MOST_OF_ONE, MOST_VIEWERS
from app.domain.session.payment_session import Status
from app.domain.units.ids import KeyId, OperatorId
from app.flows.console.sign_in import sign_in, sign_out
from app.store.operators.keys import OpsKey, Role
from tests.api.service import LOOK, Service, open_service, wait
from tests.console.accessibility import check
from tests.console.browser import opened
from tests.journeys.deliveries import as_monta_shows_it, deliver, entry, later
from tests.journeys.rig import energy_tariff, open_rig
from tests.postgres import as_superuser

pytestmark = pytest.mark.anyio

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh follows the other at once, so that no test waits for seconds."""
    monkeypatch.setattr(module, "EVERY_S", 0.01)


async def token_of(service: Service, key: str) -> str:
    signed_in = await sign_in(service.context, key)
    assert signed_in is not None
    return signed_in.token


async def event_of(stream: AsyncIterator[bytes]) -> tuple[str, Json]:
    """The next event of a stream; its comments and settings are skipped."""
    async for part in stream:
        name, _, data = part.decode().partition("\n")
        if name.startswith("event: "):
            return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))
    raise AssertionError("the stream has ended")


async def update_that(stream: AsyncIterator[bytes], fits: Any) -> Json:
    for _ in range(200):
        name, update = await event_of(stream)
        assert name == "update"
        if fits(update):
            return update
    raise AssertionError("no update fits")


def ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


async def test_a_charging_session_is_shown_with_all_that_is_known_of_it(database_url: str) -> None:
    async with open_rig(database_url) as rig, opened(rig.app) as browser:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await rig.until(session["id"], "charging")
        await rig.pass_time(300)
        page = await browser.sign_in(rig.ops.api_key)
        check(page)
        row = page.one("tr", data_id=session["id"])
        shown = {cell.attributes["data-f"]: cell.text for cell in row.walk() if "data-f" in cell.attributes}
        now = await rig.ops_session(session["id"])
        assert shown["reference"] == now["display_reference"]
        assert shown["place"] == "lane 3 · Nordlade"
        assert shown["point"].startswith("106 ")
        assert shown["status"] == "charging"
        assert shown["used"] == f"{now['amount_used'] / 100:.2f}"
        assert shown["authorized"] == "20.00 EUR"
        assert shown["energy"] == f"{now['energy_wh'] / 1000:.2f}"
        assert 100 < float(shown["power"]) <= 250, "what charge point 106 gives to this car"
        assert "min" in shown["limit"]
        assert shown["news"] == "webhook: charging"
        assert shown["news_age"].endswith(" ago")
        tiles = {
            tile.attributes["data-tile"]: tile.text for tile in page.walk() if "data-tile" in tile.attributes
        }
        assert tiles["charging"] == tiles["running"] == "1"
        assert tiles["authorized"] == "20.00 EUR"
        assert tiles["used"] == f"{shown['used']} EUR"
        assert tiles["oldest_due"] == "none"


async def test_only_what_changed_is_sent_and_rows_go_some_time_after_the_end(database_url: str) -> None:
    async with open_service(database_url) as service:
        one, two = await service.authorize("101", "A-1"), await service.authorize("102", "A-2")
        board, token = Board(service.context, None), await token_of(service, service.all_ops.api_key)
        stream = board.watch(token, SessionChanges())
        _, first = await event_of(stream)
        assert first["all"]
        assert sorted(ids(first["rows"])) == sorted([one["id"], two["id"]])
        await service.charging(one["id"], "77", energy_wh=1500)
        update = await update_that(stream, lambda update: update["rows"])
        assert ids(update["rows"]) == [one["id"]]
        assert (update["rows"][0]["energy"], update["rows"][0]["version"]) == ("1.50", 2)
        assert not update["all"]
        quiet = await update_that(stream, lambda update: not update["rows"])
        assert quiet["gone"] == []
        await service.settle(one["id"], 700)
        ended = await update_that(stream, lambda update: update["rows"])
        assert (ended["rows"][0]["status"], ended["rows"][0]["news"]) == ("completed", "capture 7.00, due")
        assert ended["tiles"]["running"] == "1"
        await wait(service, KEPT + timedelta(seconds=1))
        gone = await update_that(stream, lambda update: update["gone"])
        assert gone["gone"] == [one["id"]]
        await stream.aclose()


async def test_a_reading_that_is_kept_beside_its_session_is_sent_once(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 5000)
        await rig.pass_time(100)
        charge = await as_monta_shows_it(rig)
        rig.monta.outbox.config = None
        board = Board(rig.context, None)
        await board.refresh()
        for wh in (0, 30, 60):
            await rig.pass_time(5)
            seen = board.number
            assert await deliver(rig, entry(rig, later(rig, charge, wh))) == 200
            await board.refresh()
            (row,) = json.loads(board.difference(seen).split(b"data: ")[1])["rows"]
            now = await rig.ops_session(session["id"])
            assert (row["energy"], row["version"]) == (f"{now['energy_wh'] / 1000:.2f}", now["version"])
            seen = board.number
            await board.refresh()
            assert b'"rows":[]' in board.difference(seen), "unchanged, so not read again"


async def test_viewers_of_one_operator_share_one_refresh_and_one_text(database_url: str) -> None:
    async with open_service(database_url) as service:
        await service.authorize("101", "A-1")
        board, token = Board(service.context, None), await token_of(service, service.all_ops.api_key)
        streams = [board.watch(token, SessionChanges()) for _ in range(5)]
        texts = [await anext(stream) and await anext(stream) for stream in streams]
        assert board.number <= 5
        assert len({id(text) for text in texts}) <= board.number < 5
        for stream in streams:
            await stream.aclose()
        assert not board.viewers


async def test_a_viewer_that_is_far_behind_gets_all_rows(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize("101", "A-1")
        board = Board(service.context, None)
        await board.refresh()
        assert ids(json.loads(board.difference(board.number).split(b"data: ")[1])["rows"]) == []
        seen = board.number
        for _ in range(REMEMBERED + 1):
            await board.refresh()
        late = json.loads(board.difference(seen).split(b"data: ")[1])
        assert late["all"]
        assert ids(late["rows"]) == [session["id"]]


async def test_a_stream_ends_with_the_key_the_sign_out_and_the_process(database_url: str) -> None:
    async with open_service(database_url) as service:
        closing = SessionChanges()
        board = Board(service.context, service.one.operator.operator_id)
        tokens = [await token_of(service, service.one.ops.api_key) for _ in range(2)]
        one, two = (board.watch(token, closing) for token in tokens)
        assert (await event_of(one))[0] == (await event_of(two))[0] == "update"
        await sign_out(service.context, tokens[0])
        while (await event_of(one))[0] != "over":
            pass
        assert (await event_of(two))[0] == "update"
        async with service.context.database.transaction() as connection:
            await connection.execute(text("UPDATE api_keys SET revoked_at = created_at"))
        while (await event_of(two))[0] != "over":
            pass
        third = board.watch("any token", closing)
        closing.close()
        assert (await event_of(third))[0] == "over"
        for stream in (one, two, third):
            await stream.aclose()
        assert not board.viewers


async def test_a_key_of_one_operator_sees_nothing_of_another(kept_apart: str) -> None:
    async with open_service(kept_apart) as service:
        mine = await service.authorize("101", "A-1")
        theirs = (
            await service.call(
                "POST",
                "/v1/payment-sessions",
                {
                    "charge_point_id": "102",
                    "authorization": {"reference": "B-1", "amount": 7700, "currency": "EUR"},
                },
                key=service.other.terminal.api_key,
            )
        ).json()
        await service.change(theirs["id"], attention=LOOK)
        for tenant, own in ((service.one, mine), (service.other, theirs)):
            board = Board(service.context, tenant.operator.operator_id)
            await board.refresh()
            assert ids(board.rows()) == [own["id"]]
            assert board.tiles["attention"] == ("1" if own is theirs else "0")
            assert board.tiles["authorized"] == ("77.00 EUR" if own is theirs else "50.00 EUR")
            async with opened(service.apps[0]) as browser:
                page = await browser.sign_in(tenant.ops.api_key)
                assert [row.attributes["data-id"] for row in page.one("tbody").all("tr")] == [own["id"]]


async def test_sessions_that_need_attention_come_first(database_url: str) -> None:
    async with open_service(database_url) as service:
        first = await service.authorize("101", "A-1")
        await wait(service, timedelta(seconds=1))
        second = await service.authorize("102", "A-2")
        board = Board(service.context, None)
        await board.refresh()
        assert ids(board.rows()) == [second["id"], first["id"]]
        await service.change(first["id"], attention=LOOK, status=Status.STARTING)
        await board.refresh()
        assert ids(board.rows()) == [first["id"], second["id"]]
        assert board.rows()[0]["attention"] == "other"


async def test_open_pages_are_bounded_for_each_key_and_operator_and_in_all(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await browser.sign_in(service.one.ops.api_key)
        viewers, own, other = service.apps[0].state.viewers, service.one.operator.operator_id, "op_other"
        full = (
            {(own, service.one.ops.id): MOST_OF_A_KEY},
            {(own, "opk_1"): MOST_OF_A_KEY, (own, "opk_2"): MOST_OF_ONE - MOST_OF_A_KEY},
            {(other, "opk_3"): MOST_VIEWERS},
        )
        for each in full:
            viewers.open = Counter(each)
            for path in ("live/stream", f"sessions/{session['id']}/stream"):
                answer = await browser.http.get(f"/console/{path}")
                assert answer.status_code == 503, (each, path)
        viewers.open = Counter({(other, "opk_3"): MOST_VIEWERS - 1})
        assert viewers.has_room(OpsKey(KeyId(service.one.ops.id), OperatorId(own), Role.READ, ""))


async def test_a_stream_without_a_session_is_not_asked_for_again(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        answer = await browser.http.get("/console/live/stream", headers={"Accept": "text/event-stream"})
        assert answer.text == "event: out\ndata: {}\n\n"


async def test_viewers_are_told_when_a_refresh_fails_and_go_on_afterwards(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        board, token = Board(service.context, None), await token_of(service, service.all_ops.api_key)
        stream = board.watch(token, SessionChanges())
        assert (await event_of(stream))[0] == "update"
        admin = await asyncpg.connect(as_superuser(database_url))
        await admin.execute("REVOKE SELECT ON payment_sessions FROM tapwatt_service")
        try:
            while (await event_of(stream))[0] != "away":
                pass
        finally:
            await admin.execute("GRANT SELECT ON payment_sessions TO tapwatt_service")
            await admin.close()
        await service.charging(session["id"], "77", energy_wh=1500)
        while True:
            name, update = await event_of(stream)
            if name == "update" and update["rows"]:
                break
        assert update["rows"][0]["energy"] == "1.50"
        await stream.aclose()
