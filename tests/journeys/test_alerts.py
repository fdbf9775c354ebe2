"""Tests of app/flows/operator/send_alerts: what is wrong reaches operations once, and its end too."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from app.alerting.outlet import NotDelivered
from app.domain.alerts.message import GROUP, REPEAT, Message
from app.flows.operator.send_alerts import send_alerts
from app.store.operators import operator_state
from app.store.operators.operator_state import CredentialStatus
from tests.journeys.rig import Rig, open_rig

pytestmark = pytest.mark.anyio


@dataclass
class Inbox:
    """Operations' inbox, which may be closed."""

    name: str = "inbox"
    open: bool = True
    got: list[Message] = field(default_factory=list)

    async def send(self, message: Message, now: datetime) -> None:
        if not self.open:
            raise NotDelivered("closed")
        self.got.append(message)


def codes(message: Message | None) -> tuple[list[str], list[str], list[str]]:
    assert message is not None
    opened, still, closed = message.opened, message.still_open, message.closed
    return tuple([a.cause.code for a in group] for group in (opened, still, closed))  # type: ignore[return-value]


async def check(rig: Rig, inbox: Inbox, after: timedelta = timedelta()) -> Message | None:
    rig.clock.set(rig.clock.now() + after)
    return await send_alerts(rig.context, [inbox])


async def refuse(rig: Rig, problem: str | None) -> None:
    status = CredentialStatus(refused_since=rig.clock.now() if problem else None, problem=problem)
    async with rig.context.database.transaction() as connection:
        await operator_state.note_credential_status(connection, rig.operator.operator_id, status)


async def test_a_problem_is_said_once_repeated_while_it_lasts_and_ended(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        inbox = Inbox()
        assert await check(rig, inbox) is None
        await refuse(rig, "401")
        assert codes(await check(rig, inbox)) == (["credential_refused"], [], [])
        assert await check(rig, inbox, GROUP) is None
        assert codes(await check(rig, inbox, REPEAT)) == ([], ["credential_refused"], [])
        await refuse(rig, None)
        assert await check(rig, inbox) is None, "an end waits for the next group"
        assert codes(await check(rig, inbox, GROUP)) == ([], [], ["credential_refused"])
        assert await check(rig, inbox, REPEAT) is None
        await refuse(rig, "401")
        assert codes(await check(rig, inbox)) == (["credential_refused"], [], []), "a new one is new"


async def test_what_was_not_delivered_is_sent_again_with_the_same_id(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        shut, other = Inbox(open=False), Inbox()
        await refuse(rig, "401")
        assert await send_alerts(rig.context, [other, shut]) is None
        shut.open = True
        assert await check(rig, shut) is None, "another process may still be sending"
        message = await check(rig, shut, timedelta(minutes=2))
        assert message is not None
        assert [m.id for m in other.got] == [message.id]


async def test_attention_of_a_session_is_an_alert_until_it_is_acknowledged(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        inbox = Inbox()
        session = await rig.authorize(918, 500)
        await rig.until(session["id"], "completed")
        shown = await rig.ops_session(session["id"])
        wanted = sorted(item["code"] for item in shown["attention"])
        assert "shortfall" in wanted
        message = await check(rig, inbox, GROUP)
        assert sorted(codes(message)[0]) == wanted
        for code in set(wanted):
            await rig.call(
                "POST",
                f"/v1/ops/payment-sessions/{session['id']}/attention/{code}/acknowledge",
                body={"note": "booked"},
                key=rig.ops.api_key,
            )
        assert sorted(codes(await check(rig, inbox, GROUP))[2]) == wanted


async def test_one_process_sends_at_a_time(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await refuse(rig, "401")

        class Slow(Inbox):
            async def send(self, message: Message, now: datetime) -> None:
                assert await send_alerts(rig.context, [other]) is None
                await super().send(message, now)

        other, slow = Inbox(), Slow()
        assert codes(await send_alerts(rig.context, [slow])) == (["credential_refused"], [], [])
        assert (len(slow.got), other.got) == (1, [])
