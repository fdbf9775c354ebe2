"""Tests of app/flows/session, app/watcher.

Watchers that crash, freeze, race or lose their lease: the next one finds out, and nothing is done twice.
"""

from dataclasses import replace

import pytest
from sqlalchemy import text

from app.domain.session.machine import SendStart, SendStop
from app.flows.context import LeaseLost
from app.flows.session.advance import advance
from app.simulator.faults.catalog import FaultKind
from app.watcher import Watcher
from tests.journeys.checks import check_settlement, ended, kinds, minor, starts, the_charge
from tests.journeys.crash import Stalling, call, claim, intend, killed_in_mid_call, post_and_forget, row_of
from tests.journeys.rig import energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

PRICE = energy_tariff("0.79")
UNANSWERED = 0
"""The simulator logs a POST when it has answered it; the killed watcher's call never was."""


async def test_F17_a_crash_after_the_intent_causes_a_search_and_the_start_is_sent_after_the_quiet_window(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(106, 500)
        _, decided = await intend(rig)
        assert isinstance(decided.step, SendStart)
        await rig.pass_time(29)
        assert len(rig.monta.requests) == len([r for r in rig.monta.requests if r.path != "/charges"])
        await rig.pass_time(90)
        assert starts(rig) == []
        assert "searched" in await kinds(rig, session["id"])
        await rig.until(session["id"], "charging", within_s=30)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F18_a_crash_between_post_and_outcome_is_healed_by_the_search_without_a_second_post(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(920), public_url=None) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(920, 250)
        await killed_in_mid_call(rig, after_s=5)
        charge = the_charge(rig)
        assert (await rig.session(session["id"]))["status"] == "authorized"
        await rig.pass_time(35)
        found = await rig.session(session["id"])
        assert (found["status"], found["charge"]["id"]) == ("charging", str(charge.id))
        last = await ended(rig, session, posts=UNANSWERED)
        assert last["settlement"]["amount_to_capture"] == minor(charge.price) > 0


async def test_F18_a_webhook_waits_for_the_dead_watchers_lease_and_then_adopts_the_charge(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(920)) as rig:
        session = await rig.authorize(920, 250)
        await killed_in_mid_call(rig, after_s=5)
        await rig.pass_time(35)
        lines = await rig.journal(session["id"])
        (adopted,) = [line for line in lines if line["kind"] == "charge_adopted"]
        assert adopted["source"] == "monta_webhook"
        await ended(rig, session, posts=UNANSWERED)
        assert the_charge(rig).partner_external_id == session["id"]


async def test_F23_after_a_crash_the_search_finds_two_charges_and_only_the_oldest_is_paid_for(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(921), public_url=None) as rig:
        session = await rig.authorize(921, 250)
        await post_and_forget(rig)
        last = await ended(rig, session)
        paid, spare = rig.monta.charges()
        assert last["charge"]["id"] == str(paid.id)
        assert last["settlement"]["amount_to_capture"] == minor(paid.price) > 0
        assert spare.stops_asked == 1
        assert spare.delivered_wh(rig.clock.now()) == 0


async def test_F22_a_stalled_watcher_that_lost_its_lease_sends_nothing(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 500)
        lease, decided = await intend(rig)
        await rig.pass_time(60)
        before = await row_of(rig, session["id"])
        posts = rig.calls("POST", "/charges")
        with pytest.raises(LeaseLost):
            await call(rig, lease, decided)
        assert rig.calls("POST", "/charges") == posts == 0
        assert await row_of(rig, session["id"]) == before
        await ended(rig, session)


async def test_F22_a_watcher_that_stalls_within_its_lease_sends_again_with_a_new_intent(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 500)
        lease, decided = await intend(rig)
        watchers, rig.watchers = rig.watchers, []
        await rig.pass_time(6)
        await call(rig, lease, decided)
        assert rig.calls("POST", "/charges") == 0
        assert "start_not_done" in await kinds(rig, session["id"])
        rig.watchers = watchers
        await ended(rig, session)


async def test_F22_a_watcher_that_stalls_before_its_commit_sends_nothing_by_its_old_decision(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 500)
        watchers, rig.watchers = rig.watchers, []
        lease = await claim(rig)
        decided = await advance(replace(rig.context, database=Stalling(rig, 160)), lease)
        assert isinstance(decided.step, SendStart)
        await call(rig, lease, decided)
        assert rig.calls("POST", "/charges") == 0, "by its intent's time the quiet window is over"
        rig.watchers = watchers
        await ended(rig, session)


async def test_F22_a_watcher_that_is_just_in_time_sends_once(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 500)
        lease, decided = await intend(rig)
        watchers, rig.watchers = rig.watchers, []
        await rig.pass_time(4)
        await call(rig, lease, decided)
        assert rig.calls("POST", "/charges") == 1
        rig.watchers = watchers
        await ended(rig, session)


async def test_a_lease_lost_during_a_call_leaves_the_outcome_to_whoever_has_it_now(database_url: str) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        rig.monta.faults.next("POST", "/charges", FaultKind.SLOW, seconds=40)
        session = await rig.authorize(106, 500)
        await rig.pass_time(39)
        found = await rig.session(session["id"])
        assert found["charge"]["id"] == str(the_charge(rig).id)
        lines = len(await rig.journal(session["id"]))
        await rig.pass_time(2)
        story = await kinds(rig, session["id"])
        assert "start_accepted" not in story[:lines]
        assert story.count("charge_adopted") == 1
        await ended(rig, session)


async def test_a_crash_between_the_stops_intent_and_its_call_delays_the_stop_by_one_lease(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 5000)
        await rig.pass_time(70)
        await rig.stop(session["id"])
        _, decided = await intend(rig)
        assert isinstance(decided.step, SendStop)
        await rig.pass_time(25)
        assert rig.stops() == 0
        await rig.pass_time(10)
        assert rig.stops() == 1
        last = await ended(rig, session)
        assert last["stop_reason"] == "driver"


async def test_F76_two_watchers_at_once_start_stop_and_settle_each_session_once(database_url: str) -> None:
    async with open_rig(database_url, config=usual(903, 912, 915, 916, 921)) as rig:
        await rig.set_tariff(PRICE)
        rig.watchers.append(Watcher(rig.context, name="watcher-2"))
        points = (907, 915, 903, 921, 916, 912)
        sessions = [await rig.authorize(point, 1000) for point in points]
        for session in sessions:
            check_settlement(await rig.until(session["id"], "completed"))
        await ended(rig, sessions[0], posts=len(points))
        by_session = {charge.partner_external_id for charge in rig.monta.charges() if not charge.spare}
        assert by_session == {session["id"] for session in sessions}
        assert len([charge for charge in rig.monta.charges() if not charge.spare]) == len(points)


async def test_F22_a_lease_that_was_not_released_is_taken_over_when_it_ends(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 500)
        await claim(rig, "a watcher that dies at once")
        await rig.pass_time(29)
        assert rig.calls("POST", "/charges") == 0
        await rig.pass_time(2)
        assert rig.calls("POST", "/charges") == 1
        await ended(rig, session)


async def test_F93_a_session_that_cannot_even_be_read_never_harms_the_others(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        poisoned = await rig.authorize(105, 500)
        async with rig.context.database.transaction() as connection:
            await connection.execute(
                text("UPDATE payment_sessions SET body = body - 'authorization' WHERE id = :id"),
                {"id": poisoned["id"]},
            )
        healthy = await rig.authorize(106, 500)
        last = await rig.until(healthy["id"], "completed")
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0
        async with rig.context.database.transaction() as connection:
            query = text("SELECT failures, due_at FROM payment_sessions WHERE id = :id")
            failures, due_at = (await connection.execute(query, {"id": poisoned["id"]})).one()
        assert 2 <= failures <= 12
        assert due_at > rig.clock.now()


async def test_F93_a_session_that_is_mended_goes_on_where_it_was(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 500)
        async with rig.context.database.transaction() as connection:
            await connection.execute(
                text('UPDATE payment_sessions SET body = body || \'{"status": "lost"}\'')
            )
        await rig.pass_time(60)
        assert rig.calls("POST", "/charges") == 0
        async with rig.context.database.transaction() as connection:
            await connection.execute(
                text('UPDATE payment_sessions SET body = body || \'{"status": "authorized"}\'')
            )
        await rig.until(session["id"], "charging", within_s=200)
        await ended(rig, session)
