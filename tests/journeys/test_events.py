"""Tests of app/flows/saving, app/flows/events: terminal makers are told of each change, in order, at least once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from app.api.event_views import Views
from app.domain.alerts.causes import of_operator
from app.domain.events.event import EventType
from app.domain.limit.policy import Policy
from app.domain.session.attention import AttentionCode
from app.domain.session.machine import Caller, Change, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.tariff import parse_tariff
from app.domain.units.ids import ChargePointId, OperatorId, SessionId, TerminalId
from app.flows.admin import provision
from app.flows.admin.figures import read_figures
from app.flows.admin.manage_terminals import remove_terminal
from app.flows.admin.personal_data import erase_card
from app.flows.admin.rotate_secret_key import rotate_secret_key
from app.flows.events import manage_endpoints
from app.flows.events.manage_endpoints import EndpointRefused
from app.flows.events.send_events import EventSender
from app.flows.operator.sync import sync_operator
from app.flows.saving import save, save_all
from app.store import alerts
from app.store.db.secret_box import SecretBox, SecretUnreadable
from app.store.operators.jobs import Job, JobLease
from app.store.operators.operators import Operators
from app.store.sessions import payment_sessions
from app.store.sessions.session_filter import EVERY_SESSION
from tests.build_context import SECRET_KEY
from tests.conftest import PATIENCE_S
from tests.journeys.receiver import URL, Maker, listen, send_due
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig

pytestmark = pytest.mark.anyio

OF_SESSIONS = "SELECT id, session_id FROM events WHERE session_id IS NOT NULL"
TYPES = ["charging", "stopping", "settled"]


async def rows(rig: Rig, query: str) -> list[Json]:
    async with rig.context.database.transaction() as connection:
        return [dict(row) for row in await connection.execute(text(query))]


async def change(rig: Rig, statement: str) -> None:
    async with rig.context.database.transaction() as connection:
        await connection.execute(text(statement))


async def charged(rig: Rig, charge_point: int = 106, **more: Any) -> Json:
    """A charge from its start to its settlement, which was reported."""
    await rig.set_tariff(energy_tariff("0.79"))
    session = await rig.authorize(charge_point, 500, **more)
    return await rig.until(session["id"], "completed")


async def test_a_charge_is_told_from_its_start_to_its_settlement(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        await listen(rig, maker)
        last = await charged(rig)
        await send_due(sender)
        assert maker.types == TYPES
        shown = {session["version"]: session for session in rig.seen[last["id"]]}
        for event in maker.got:
            assert list(event) == ["type", "timestamp", "data", "id"]
            assert event["data"] == shown.get(event["data"]["version"], event["data"]), "as a GET showed it"
            assert event["timestamp"] == event["data"]["updated_at"]
        assert maker.got[-1]["data"] == last
        versions = [event["data"]["version"] for event in maker.got]
        assert versions == sorted(set(versions))
        assert await rows(rig, "SELECT event_id FROM event_deliveries") == []


async def test_a_start_that_failed_and_a_need_of_attention_are_told(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        await listen(rig, maker)
        refused = await rig.authorize(901, 500)
        short = await rig.authorize(918, 500)
        await rig.until(refused["id"], "not_started")
        await rig.until(short["id"], "completed")
        await send_due(sender)
        told = [(event["type"], event["data"]["id"]) for event in maker.got]
        assert ("payment_session.not_started", refused["id"]) in told
        assert ("payment_session.needs_attention", short["id"]) in told
        assert all(event["data"]["needs_attention"] for event in maker.got if "attention" in event["type"])


async def test_F118_a_process_that_dies_after_the_commit_loses_no_event(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        await listen(rig, maker)
        await charged(rig)
        hanging = Hanging()
        died = asyncio.create_task(EventSender(rig.context, hanging).run_round())
        await hanging.called.wait()
        died.cancel()
        await asyncio.gather(died, return_exceptions=True)
        assert await sender.run_round() == 0, "the dead process' claim still stands"
        rig.clock.set(rig.clock.now() + timedelta(seconds=31))
        await send_due(sender)
        assert maker.types == TYPES


class Crashed(Exception):
    pass


async def _crash_before_the_commit(rig: Rig, session_id: SessionId) -> None:
    async with rig.context.database.transaction() as connection:
        session = await payment_sessions.lock(connection, session_id)
        assert session is not None
        raised = Change(session).raise_attention(AttentionCode.SHORTFALL, "1", Source.WATCHER)
        assert (await save(rig.context, connection, session, raised, rig.clock.now())).needs_attention
        raise Crashed


class Hanging:
    """An endpoint that never answers."""

    def __init__(self) -> None:
        self.called = asyncio.Event()

    async def send(self, *_: object) -> None:
        self.called.set()
        await asyncio.Event().wait()


async def test_F118_a_process_that_ends_gives_back_what_it_sends_at_once(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        await listen(rig, maker)
        await charged(rig)
        hanging = Hanging()
        ending = asyncio.create_task(EventSender(rig.context, hanging).run())
        await hanging.called.wait()
        assert await sender.run_round() == 0
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        running = asyncio.create_task(sender.run())
        sender.wake()
        while len(maker.got) < len(TYPES):
            await asyncio.wait_for(maker.news.wait(), PATIENCE_S)
            maker.news.clear()
        running.cancel()
        assert maker.types == TYPES


async def test_F118_an_event_is_written_with_its_change_or_not_at_all(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        await listen(rig, maker)
        last = await charged(rig)
        before = await rows(
            rig,
            "SELECT count(*) AS events, (SELECT count(*) FROM journal) AS lines FROM events WHERE session_id > ''",
        )

        with pytest.raises(Crashed):
            await _crash_before_the_commit(rig, SessionId(last["id"]))
        after = await rows(
            rig,
            "SELECT count(*) AS events, (SELECT count(*) FROM journal) AS lines FROM events WHERE session_id > ''",
        )
        assert after == before
        await send_due(sender)
        assert maker.types == TYPES


async def test_sessions_that_are_saved_together_are_all_told_and_one_that_cannot_be_shown_is_saved_all_the_same(
    database_url: str,
) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig:
        await listen(rig, maker)
        session_ids = [SessionId((await rig.authorize(point))["id"]) for point in (101, 103, 105)]

        class Unshown(Views):
            def session(self, session: PaymentSession, policy: Policy) -> bytes:
                if session.id == session_ids[1]:
                    raise ValueError
                return super().session(session, policy)

        context, edits = replace(rig.context, views=Unshown()), []
        async with rig.context.database.transaction() as connection:
            for session_id in sorted(session_ids):
                session = await payment_sessions.lock(connection, session_id)
                assert session is not None
                change = Change(session).raise_attention(AttentionCode.SHORTFALL, "1", Source.WATCHER)
                edits.append((session, change))
            saved = await save_all(context, connection, edits, rig.clock.now())
        assert [session.needs_attention for session in saved] == [True] * 3
        told = {row["session_id"] for row in await rows(rig, OF_SESSIONS)}
        assert told == {session_ids[0], session_ids[2]}


async def test_F118_a_dead_endpoint_is_tried_for_seven_days_and_holds_up_no_other(database_url: str) -> None:
    dead, other = Maker(), Maker(f"{URL}/2")
    dead.status = lambda _: None
    async with open_rig(database_url) as rig, dead.sender(rig.context, other) as sender:
        added = await listen(rig, dead, types=[EventType.SETTLED])
        await listen(rig, other)
        await charged(rig)
        at = []
        began = rig.clock.now()
        for _ in range(60):
            before = len(dead.tried)
            await send_due(sender)
            at += [(rig.clock.now() - began).total_seconds()] * (len(dead.tried) - before)
            due = await rows(rig, "SELECT min(due_at) AS at FROM event_deliveries")
            if due[0]["at"] is None:
                break
            rig.clock.set(due[0]["at"])
        pauses = [later - earlier for earlier, later in pairwise(at)]
        assert pauses == [5, *[60] * 5, *[3600] * 24, *[86400] * 5]
        shown = await manage_endpoints.show_endpoint(rig.context, added.id)
        assert (shown.waiting, shown.endpoint.given_up) == (0, 1)
        assert shown.endpoint.problem == "refused"
        assert shown.endpoint.failing_since is not None
        async with rig.context.database.read() as connection:
            (health,) = await alerts.health_of_operators(connection)
        (cause,) = [c for c in of_operator(health, rig.clock.now()) if c.code == "endpoint_fails"]
        assert cause.detail == f"{added.id}: refused"
        figures = await read_figures(rig.context)
        assert (figures.endpoints, figures.events_waiting) == ({"failing": 1, "active": 1}, 0)
        assert len(await rows(rig, OF_SESSIONS)) == 3, "they stay for the terminal's list"
        assert other.types == TYPES
        assert len(other.tried) == 3


async def test_a_refused_event_holds_up_those_of_its_session_only(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        await listen(rig, maker)
        first = await charged(rig, 106)
        second = await charged(rig, 105)
        maker.status = lambda event: (
            400 if (event["type"], event["data"]["id"]) == ("payment_session.stopping", first["id"]) else 200
        )
        await send_due(sender)
        told = [(event["type"].partition(".")[2], event["data"]["id"]) for event in maker.got]
        assert [kind for kind, whose in told if whose == first["id"]] == ["charging"]
        assert [kind for kind, whose in told if whose == second["id"]] == TYPES
        maker.status = lambda _: 200
        rig.clock.set(rig.clock.now() + timedelta(seconds=10))
        await send_due(sender)
        assert [e["type"] for e in maker.got if e["data"]["id"] == first["id"]][1:] == [
            "payment_session.stopping",
            "payment_session.settled",
        ]


async def test_an_endpoint_that_is_back_gets_at_once_what_waited(database_url: str) -> None:
    maker = Maker()
    maker.status = lambda _: 302
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        await listen(rig, maker)
        await charged(rig)
        await send_due(sender)
        await change(rig, f"UPDATE event_deliveries SET due_at = '{rig.clock.now()}'")
        await send_due(sender)
        assert len(maker.tried) == 1, "for some seconds nothing is sent to it, whatever else is due"
        rig.clock.set(rig.clock.now() + timedelta(seconds=60))
        for _ in range(11):
            await send_due(sender)
            rig.clock.set(rig.clock.now() + timedelta(seconds=60))
        assert len(maker.tried) == 7, "no redirect is followed, and the next try is hourly"
        maker.status = lambda _: 200
        await charged(rig, 105)
        await send_due(sender)
        assert sorted(maker.types) == sorted(TYPES * 2)


async def test_a_paused_endpoint_gets_nothing_and_then_all_of_it(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        added = await listen(rig, maker)
        await manage_endpoints.pause_endpoint(rig.context, added.id)
        await charged(rig)
        await send_due(sender)
        assert maker.tried == []
        assert (await manage_endpoints.show_endpoint(rig.context, added.id)).waiting == 3
        await manage_endpoints.resume_endpoint(rig.context, added.id)
        await send_due(sender)
        assert maker.types == TYPES
        await manage_endpoints.remove_endpoint(rig.context, added.id)
        await charged(rig, 105)
        await send_due(sender)
        assert maker.types == TYPES


async def test_both_secrets_sign_for_a_day_after_a_rotation(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        added = await listen(rig, maker)
        changed = await manage_endpoints.rotate_secret(rig.context, added.id)
        assert changed.signing_secret != added.signing_secret
        await charged(rig)
        await send_due(sender)
        assert [len(each.split()) for each in maker.signatures] == [2, 2, 2]
        maker.secret = changed.signing_secret
        await charged(rig, 105)
        rig.clock.set(rig.clock.now() + manage_endpoints.SECRET_OVERLAP)
        await send_due(sender)
        assert [len(each.split()) for each in maker.signatures[3:]] == [1, 1, 1]


async def test_a_secret_is_bound_to_its_url_and_survives_a_new_secret_key(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        added = await listen(rig, maker)
        await charged(rig)
        await change(rig, "UPDATE event_endpoints SET url = 'https://attacker.test/'")
        await send_due(sender)
        assert maker.tried == [], "who changes the URL by hand gets nothing"
        shown = (await manage_endpoints.show_endpoint(rig.context, added.id)).endpoint
        assert "rotate-secret" in (shown.problem or "")
        with pytest.raises(SecretUnreadable):
            await manage_endpoints.address_of(rig.context, added.id)
        await change(rig, f"UPDATE event_endpoints SET url = '{URL}'")
        newer = replace(
            rig.context, operators=Operators(SecretBox("hT4mQ9xK2vB7nZ1cW8rL5pD3yF6", [SECRET_KEY]))
        )
        rotated = await rotate_secret_key(newer)
        assert rotated.left == []
        _, secrets = await manage_endpoints.address_of(
            replace(rig.context, operators=Operators(SecretBox("hT4mQ9xK2vB7nZ1cW8rL5pD3yF6"))), added.id
        )
        assert secrets.all == (added.signing_secret,)


async def test_an_endpoint_hears_of_its_own_terminals_and_of_what_it_wants_only(database_url: str) -> None:
    every, other, one, settled = Maker(), Maker(), Maker(), Maker()
    async with open_rig(database_url) as rig, every.sender(rig.context) as sender:
        mine = await provision.add_terminal(
            rig.context,
            OperatorId(rig.operator.operator_id),
            provider="another",
            name="lane 4",
            charge_point_ids=[ChargePointId("105")],
        )
        for maker, more in (
            (every, {}),
            (other, {"provider": "another"}),
            (one, {"provider": None, "terminal_id": TerminalId(rig.terminal.id)}),
            (settled, {"types": [EventType.SETTLED]}),
        ):
            await listen(rig, maker, **more)
        secrets = [maker.secret for maker in (every, other, one, settled)]
        await charged(rig)
        waiting = {
            row["url"] + str(row["n"]): row["waiting"]
            for row in await rows(
                rig,
                "SELECT url, row_number() OVER (ORDER BY e.id) AS n,"
                " (SELECT count(*) FROM event_deliveries WHERE endpoint_id = e.id) AS waiting"
                " FROM event_endpoints e ORDER BY e.id",
            )
        }
        assert len(set(secrets)) == 4
        assert sorted(waiting.values()) == [0, 1, 3, 3]
        assert len(await rows(rig, OF_SESSIONS)) == 3
        assert sender is not None
        with pytest.raises(EndpointRefused, match="0 operators"):
            await listen(rig, every, provider="nobody")
        await remove_terminal(rig.context, TerminalId(mine.id))


async def test_without_an_endpoint_nothing_is_written_and_it_is_asked_once_a_second(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await charged(rig)
        assert await rows(rig, OF_SESSIONS) == []
        known = rig.context.known_endpoints
        owner = OperatorId(rig.operator.operator_id)
        now_s = rig.clock.monotonic()
        known.put(owner, now_s, has_any=False)
        assert (known.of(owner, now_s + 1), known.of(owner, now_s + 1.1)) == (False, None)


async def test_events_go_with_the_card_and_with_time(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig:
        await listen(rig, maker)
        card: Json = {"authorization": {"card": {"last4": "4242", "fingerprint": "opaque"}}}
        last = await charged(rig, 106, **card)
        await rig.call(
            "POST",
            f"/v1/payment-sessions/{last['id']}/captures",
            body={
                "outcome": "captured",
                "amount": last["settlement"]["amount_to_capture"],
                "reference": "C-1",
            },
        )
        await charged(rig, 105)
        assert len(await rows(rig, OF_SESSIONS)) == 6
        await erase_card(rig.context, SessionId(last["id"]), EVERY_SESSION, by=Caller("me", "me"))
        assert {row["session_id"] for row in await rows(rig, OF_SESSIONS)}.isdisjoint({last["id"]})
        assert len(await rows(rig, "SELECT event_id FROM event_deliveries")) == 3
        rig.clock.set(rig.clock.now() + timedelta(days=rig.context.event_days, hours=1))
        lease = JobLease(OperatorId(rig.operator.operator_id), Job.SYNC, 1)
        await sync_operator(rig.context, lease)
        assert await rows(rig, OF_SESSIONS) == []
        assert await rows(rig, "SELECT event_id FROM event_deliveries") == []


async def test_a_charge_points_state_and_price_are_told_once_to_each_maker(database_url: str) -> None:
    maker = Maker()
    async with open_rig(database_url) as rig, maker.sender(rig.context) as sender:
        await provision.add_terminal(
            rig.context,
            OperatorId(rig.operator.operator_id),
            provider="tapwatt",
            name="lane 4",
            charge_point_ids=[ChargePointId("106")],
        )
        await listen(rig, maker, types=[EventType.CHARGE_POINT_CHANGED])
        await rig.pass_time(901)
        await send_due(sender)
        assert maker.tried == [], "the first look is no news"
        await provision.set_tariff(
            rig.context,
            OperatorId(rig.operator.operator_id),
            ChargePointId("106"),
            parse_tariff(energy_tariff("0.55")),
        )
        await rig.work()
        await send_due(sender)
        (priced,) = maker.got
        shown = (await rig.call("GET", "/v1/charge-points/106")).json()
        assert priced["data"].items() <= shown.items(), "all but what only a GET shows"
        session = await rig.authorize(106, 500)
        await rig.until(session["id"], "charging")
        await rig.pass_time(5)
        await send_due(sender)
        states = [event["data"]["state"] for event in maker.got]
        assert states[0] == "available"
        assert states[-1].startswith("busy")
        listed = (await rig.call("GET", "/v1/events")).json()["data"]
        assert priced["data"] in [event["data"] for event in listed]
