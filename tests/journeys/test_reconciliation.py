"""Tests of app/flows/operator/reconcile.

A backup is restored, a fail-over loses rows: every lost charge of ours is found, and none of others.
"""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from sqlalchemy import select, text, update

from app.domain.charging.charge import ENDED, ChargeState
from app.domain.units.ids import ChargePointId
from app.flows.context import monta_of
from app.flows.operator.reconcile import demand
from app.monta.objects import StartCharge
from app.simulator.faults.catalog import FaultKind
from app.store.tables import payment_sessions
from tests.journeys.checks import ended, minor, starts, the_charge
from tests.journeys.lost_sessions import forget, orphans_of
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio


CHANGES = (
    "body",
    "status",
    "version",
    "charge_id",
    "occupies_charge_point",
    "due_at",
    "stop_due_at",
    "updated_at",
)
"""Columns of a session that change after it was recorded."""


async def snapshot(rig: Rig, session_id: str) -> Json:
    async with rig.context.database.transaction() as connection:
        row = await connection.execute(select(payment_sessions).where(payment_sessions.c.id == session_id))
        return dict(row.one())


async def go_back(rig: Rig, before: Json) -> None:
    """The session's row as it was then: a backup was restored."""
    async with rig.context.database.transaction() as connection:
        state = {name: before[name] for name in CHANGES}
        await connection.execute(
            update(payment_sessions).where(payment_sessions.c.id == before["id"]).values(state)
        )


def touched(rig: Rig, charge_id: object) -> list[str]:
    return [line.path for line in rig.monta.requests if str(charge_id) in line.path]


async def test_F81_a_charge_whose_session_was_lost_is_stopped_and_reported(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        card = {"card": {"brand": "visa", "last4": "4242"}}
        session = await rig.authorize(106, 5000, authorization=card)
        await rig.pass_time(300)
        await forget(rig, session["id"])
        await demand(rig.context)
        await rig.pass_time(120)
        charge = the_charge(rig)
        assert charge.state in ENDED
        (orphan,) = await orphans_of(rig)
        assert (orphan.session_reference, orphan.card_last4, orphan.ours) == (session["id"], "4242", True)
        assert orphan.display_reference == session["display_reference"]
        await rig.pass_time(300)
        (orphan,) = await orphans_of(rig)
        assert orphan.state is ChargeState.COMPLETED
        assert minor(orphan.price) == minor(charge.price) > 0
        calls = len(touched(rig, charge.id))
        await rig.pass_time(7200)
        assert len(touched(rig, charge.id)) == calls


async def test_F81_without_a_restart_the_hourly_comparison_finds_it(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(101, 5000)
        await rig.pass_time(1200)
        await forget(rig, session["id"])
        await rig.pass_time(3600)
        assert the_charge(rig).state in ENDED
        assert [o.ours for o in await orphans_of(rig)] == [True]


async def test_F81_a_webhook_of_a_lost_session_has_its_charge_looked_for_within_minutes(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(101, 5000)
        await rig.pass_time(60)
        await forget(rig, session["id"])
        searches = rig.calls("GET", "/charges")
        await rig.pass_time(480)
        assert the_charge(rig).state in ENDED
        assert [o.ours for o in await orphans_of(rig)] == [True]
        assert rig.calls("GET", "/charges") == searches + 1, "its further webhooks ask for no further search"


async def test_an_orphan_that_ignores_stops_is_stopped_until_it_ends(database_url: str) -> None:
    async with open_rig(database_url, config=usual(908)) as rig:
        session = await rig.authorize(908, 5000)
        await rig.pass_time(300)
        await forget(rig, session["id"])
        await demand(rig.context)
        await rig.pass_time(120)
        assert the_charge(rig).state in ENDED
        assert [o.stops for o in await orphans_of(rig)] == [4]


@pytest.mark.parametrize(("column", "of"), [("provider", "terminals"), ("paying_team_id", "operators")])
async def test_F24_a_charge_that_is_not_proved_to_be_ours_is_reported_and_never_touched(
    database_url: str, column: str, of: str
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(101, 5000)
        await rig.pass_time(300)
        await forget(rig, session["id"])
        async with rig.context.database.transaction() as connection:
            await connection.execute(text(f"UPDATE {of} SET {column} = '815'"))
        calls = len(touched(rig, the_charge(rig).id))
        await demand(rig.context)
        await rig.pass_time(600)
        assert the_charge(rig).state not in ENDED
        assert len(touched(rig, the_charge(rig).id)) == calls
        (orphan,) = await orphans_of(rig)
        assert not orphan.ours
        assert orphan.problem is not None


async def test_F47_charges_of_others_are_not_orphans(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        stranger = rig.monta.local_start(ChargePointId("101"))
        await rig.pass_time(300)
        await demand(rig.context)
        await rig.pass_time(300)
        assert stranger.state not in ENDED
        assert await orphans_of(rig) == []
        assert touched(rig, stranger.id) == []


async def test_F94_a_charge_younger_than_three_minutes_is_left_for_the_next_comparison(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(101, 5000)
        await rig.pass_time(30)
        await forget(rig, session["id"])
        await demand(rig.context)
        await rig.pass_time(100)
        assert await orphans_of(rig) == []
        assert the_charge(rig).state not in ENDED
        await rig.pass_time(200)
        assert len(await orphans_of(rig)) == 1
        assert the_charge(rig).state in ENDED


async def test_F94_two_watchers_reconcile_once(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(101, 5000)
        await rig.pass_time(300)
        await forget(rig, session["id"])
        rig.watchers.append(type(rig.watchers[0])(rig.context, name="watcher-2"))
        searches = rig.calls("GET", "/charges")
        await demand(rig.context)
        await rig.pass_time(20)
        assert rig.calls("GET", "/charges") == searches + 1
        assert rig.stops() <= 2


async def test_F89_a_restored_session_takes_up_its_charge_instead_of_starting_another(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.49"))
        watchers, rig.watchers = rig.watchers, []
        session = await rig.authorize(101, 300)
        backup = await snapshot(rig, session["id"])
        rig.watchers = watchers
        await rig.pass_time(600)
        await go_back(rig, backup)
        await demand(rig.context)
        await rig.pass_time(5)
        assert (await rig.session(session["id"]))["charge"]["id"] == str(the_charge(rig).id)
        last = await ended(rig, session, within_s=9000)
        assert last["status"] == "completed"
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F89_nothing_starts_before_the_comparison_is_done_but_not_for_ever(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.pass_time(1)
        now = rig.clock.now()
        rig.monta.faults.between(now, now + timedelta(seconds=20), FaultKind.UNAVAILABLE, path="/charges")
        await demand(rig.context)
        first = await rig.authorize(101, 3000)
        await rig.pass_time(25)
        assert starts(rig) == []
        await rig.pass_time(10)
        assert len(starts(rig)) == 1
        now = rig.clock.now()
        rig.monta.faults.between(now, now + timedelta(hours=1), FaultKind.UNAVAILABLE, path="/charges")
        await demand(rig.context)
        second = await rig.authorize(102, 3000)
        await rig.pass_time(59)
        assert len(starts(rig)) == 1
        await rig.pass_time(3)
        assert "start_intended" in [line["kind"] for line in await rig.journal(second["id"])]
        assert (await rig.session(first["id"]))["status"] == "charging"


async def test_F81_a_charge_of_a_session_that_has_long_ended_is_stopped_by_its_session(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(906, 2000)
        await ended(rig, session)
        monta = await monta_of(rig.context, rig.operator.operator_id)
        late = await monta.start_charge(
            StartCharge(
                paying_team_id="4711",
                charge_point_id=ChargePointId("906"),
                partner_external_id=session["id"],
                provider="tapwatt",
                external_id=session["display_reference"],
            )
        )
        await rig.pass_time(3700)
        assert rig.monta.charge(late.id).state in ENDED
        assert (await rig.ops_session(session["id"]))["needs_attention"]
        assert await orphans_of(rig) == []


async def test_F78_a_final_price_that_changes_after_the_settlement_is_reported_and_never_captured_again(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 2000)
        last = await ended(rig, session)
        charge = the_charge(rig)
        charge.price = (charge.price or Decimal(0)) + Decimal("1.00")
        charge.updated_at = rig.clock.now()
        await rig.pass_time(3700)
        now = await rig.ops_session(session["id"])
        assert now["settlement"] == last["settlement"]
        assert now["needs_attention"]
        lines = [line for line in await rig.journal(session["id"]) if line["kind"] == "attention_needed"]
        assert len(lines) == 1


async def test_a_comparison_that_fails_is_repeated_after_growing_pauses(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.pass_time(1)
        now = rig.clock.now()
        rig.monta.faults.between(now, now + timedelta(seconds=600), FaultKind.UNAVAILABLE, path="/charges")
        await demand(rig.context)
        tried: list[float] = []
        for second in range(0, 900, 10):
            before = rig.calls("GET", "/charges")
            await rig.pass_time(10)
            tried += [second] * (rig.calls("GET", "/charges") - before)
        pauses = [later - earlier for earlier, later in pairwise(tried)]
        assert pauses[1:4] == [30, 30, 30], "a start that waits for it is not held up for longer"
        assert sorted(pauses[4:]) == pauses[4:]
        assert 100 < pauses[-1] < 160
        assert tried[-1] >= 600, "it has succeeded, and is not repeated"
