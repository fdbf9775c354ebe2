"""Tests of app/flows/session/stop_charge.

Stops that are ignored, lost or undone: repeated until Monta confirms them, within what is authorized.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from app.domain.session.machine import SendStop
from app.domain.units.ids import OperatorId
from app.flows.turns import Turn, Turns
from app.monta.ports import Purpose
from app.monta_access import SharedBudget
from app.simulator.faults.catalog import FaultKind
from tests.journeys.checks import ended, kinds, minor, the_charge
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

PRICE = energy_tariff("0.79")
REACTION_MINOR = 5
"""What flows while Monta's own limit takes effect."""


async def attention_lines(rig: Rig, session: Json) -> list[str]:
    return [
        line["kind"] for line in await rig.journal(session["id"]) if line["kind"].startswith("attention_")
    ]


async def test_F57_a_stop_that_is_ignored_three_times_is_repeated_and_operations_alerted(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(908)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(908, 2000)
        await rig.pass_time(200)
        await rig.stop(session["id"])
        last = await ended(rig, session)
        assert the_charge(rig).stops_asked == 4
        assert last["stop_reason"] == "driver"
        assert await attention_lines(rig, session) == ["attention_needed", "attention_ended"]
        assert not last["needs_attention"], "F110: the stop was confirmed in the end"
        sent = [line.at for line in rig.monta.requests if line.path.endswith("/stop")]
        pauses = [(b - a).total_seconds() for a, b in pairwise(sent)]
        assert pauses == [10, 10, 10]


async def test_F57_repeats_slow_down_when_a_stop_never_works_and_montas_limit_ends_it(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(909)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(909, 500)
        await rig.pass_time(90)
        await rig.stop(session["id"])
        last = await ended(rig, session)
        assert the_charge(rig).stop_reason in ("PriceLimitReached", "KwhLimitReached")
        settlement = last["settlement"]
        assert settlement["amount_to_capture"] + settlement["shortfall"] == minor(the_charge(rig).price)
        assert settlement["shortfall"] <= REACTION_MINOR
        assert (await attention_lines(rig, session))[0] == "attention_needed"
        assert last["needs_attention"] == (settlement["shortfall"] > 0)
        sent = [line.at for line in rig.monta.requests if line.path.endswith("/stop")]
        pauses = [(b - a).total_seconds() for a, b in pairwise(sent)]
        assert pauses[:3] == [10, 10, 10]
        assert set(pauses[3:]) == {30}


@pytest.mark.parametrize("fault_kind", [FaultKind.UNAVAILABLE, FaultKind.ANSWER_LOST, FaultKind.THROTTLED])
async def test_F58_a_stop_that_fails_is_repeated_and_the_authorization_holds(
    database_url: str, fault_kind: FaultKind
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        rig.monta.faults.next("GET", "/charges/*/stop", fault_kind, seconds=5, times=2)
        session = await rig.authorize(106, 2000)
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert last["settlement"]["shortfall"] <= REACTION_MINOR
        assert last["settlement"]["amount_to_capture"] >= 1500
        if fault_kind is not FaultKind.ANSWER_LOST:
            assert the_charge(rig).stops_asked >= 1
            assert "stop_failed" in await kinds(rig, session["id"])


async def test_F65_a_stop_whose_answer_is_lost_is_not_sent_again_once_a_read_shows_its_effect(
    database_url: str,
) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        session = await rig.authorize(106, 2000)
        await rig.pass_time(100)
        rig.monta.faults.next("GET", "/charges/*/stop", FaultKind.ANSWER_LOST)
        await rig.stop(session["id"])
        last = await ended(rig, session)
        assert last["stop_reason"] == "driver"
        assert the_charge(rig).stops_asked == 1


async def test_F65_a_driver_who_unplugs_while_we_stop_changes_nothing(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 5000)
        await rig.pass_time(100)
        await rig.stop(session["id"])
        await rig.work()
        rig.monta.unplug(session["charge_point_id"])
        last = await ended(rig, session)
        assert last["stop_reason"] == "driver"
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F65_a_stop_after_the_end_is_harmless(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 5000)
        before = await rig.until(session["id"], "completed")
        after = await rig.stop(session["id"])
        await rig.pass_time(60)
        assert after == before == await rig.session(session["id"])
        assert rig.stops() == 0


async def test_F66a_a_charge_that_others_restart_is_stopped_again(database_url: str) -> None:
    async with open_rig(database_url, config=usual(916)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(916, 2000)
        await rig.pass_time(200)
        await rig.stop(session["id"])
        last = await ended(rig, session)
        charge = the_charge(rig)
        assert charge.restarts == 1
        assert "charge_restarted" in await kinds(rig, session["id"])
        assert charge.stops_asked == 2
        assert last["settlement"]["amount_to_capture"] == minor(charge.price) > 0


async def test_F66a_a_charge_restarted_after_the_driver_ended_it_is_stopped_too(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(918, 2000)
        await rig.pass_time(150)
        rig.monta.stop_button(session["charge_point_id"])
        await rig.until(session["id"], "finishing")
        await rig.pass_time(60)
        rig.monta.restart(session["charge_point_id"])
        await rig.pass_time(30)
        assert the_charge(rig).stops_asked == 1
        last = await ended(rig, session)
        assert last["stop_reason"] == "vehicle_or_charge_point"
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F59_montas_own_limit_holds_while_monta_cannot_be_reached(database_url: str) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(106, 2000)
        await rig.pass_time(60)
        at = rig.clock.now()
        rig.monta.faults.between(at, at + timedelta(minutes=30), FaultKind.UNREACHABLE)
        await rig.pass_time(1790)
        assert (await rig.session(session["id"]))["status"] == "stopping"
        last = await ended(rig, session)
        assert the_charge(rig).stop_reason in ("PriceLimitReached", "KwhLimitReached")
        assert last["settlement"]["shortfall"] <= 2 * REACTION_MINOR * 6
        assert rig.stops() < 70


async def test_F60_montas_own_limit_holds_while_no_watcher_runs(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(918, 500)
        await rig.pass_time(30)
        watchers, rig.watchers = rig.watchers, []
        await rig.pass_time(1200)
        assert the_charge(rig).stop_reason in ("PriceLimitReached", "KwhLimitReached")
        rig.watchers = watchers
        await rig.pass_time(30)
        assert (await rig.session(session["id"]))["status"] in ("finishing", "completed")
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == 500


async def test_F61_a_charge_point_out_of_reach_is_stopped_when_it_is_back_and_the_loss_is_on_record(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(914)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(914, 500)
        await rig.pass_time(60)
        rig.monta.set_offline(session["charge_point_id"], True)
        await rig.pass_time(900)
        assert (await rig.session(session["id"]))["amount_used"] < 500
        rig.monta.set_offline(session["charge_point_id"], False)
        last = await ended(rig, session)
        settlement = last["settlement"]
        assert settlement["amount_to_capture"] == 500
        assert settlement["shortfall"] == minor(the_charge(rig).price) - 500 > 0
        assert last["needs_attention"]


@pytest.mark.parametrize("offline_s", [600, 700, 800])
async def test_F61_a_charge_whose_stops_became_rare_is_stopped_by_its_first_new_reading(
    database_url: str, offline_s: int
) -> None:
    async with open_rig(database_url, config=usual(914)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(914, 3000)
        await rig.pass_time(70)
        rig.monta.set_offline(session["charge_point_id"], True)
        await rig.stop(session["id"])
        await rig.pass_time(offline_s)
        assert (await rig.session(session["id"]))["status"] == "finishing", "it counts as ended"
        energy_wh, stops = the_charge(rig).reported_wh, rig.stops()
        rig.monta.set_offline(session["charge_point_id"], False)
        for _ in range(60):
            await rig.pass_time(1)
            if the_charge(rig).reported_wh > energy_wh:
                break
        await rig.pass_time(2)
        assert rig.stops() == stops + 1, "not at the next rare repeat"
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F35_without_montas_limits_our_own_watch_alone_keeps_the_authorization(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(914)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(914, 1000)
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert the_charge(rig).stop_reason == "api"
        assert 700 <= last["settlement"]["amount_to_capture"] <= 1000
        assert last["settlement"]["shortfall"] == 0


async def test_F35_without_limits_webhooks_or_a_tariff_the_reported_price_keeps_the_authorization(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(914), public_url=None) as rig:
        session = await rig.authorize(914, 2000)
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert 1200 <= last["settlement"]["amount_to_capture"] <= 2000
        assert last["settlement"]["shortfall"] == 0


async def test_F55_a_quota_used_up_by_others_leaves_requests_for_the_stop(database_url: str) -> None:
    config = usual(904, 914, rate_limit=30, rate_window_s=600)
    async with open_rig(database_url, config=config, public_url=None) as rig:
        await rig.set_tariff(PRICE)
        sessions = [await rig.authorize(point, 1000) for point in (914, 904, 105, 104)]
        for session in sessions:
            last = await rig.until(session["id"], "completed")
            assert last["settlement"]["shortfall"] == 0
        assert [
            line for line in rig.monta.requests if line.path.endswith("/stop") and line.status == 429
        ] == []


async def test_F55_the_read_before_a_repeated_stop_goes_as_deep_into_the_quota_as_a_start(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Purpose] = []
    take = SharedBudget.take

    async def noted(budget: SharedBudget, operator: OperatorId, purpose: Purpose, now: datetime) -> object:
        asked.append(purpose)
        return await take(budget, operator, purpose, now)

    async with open_rig(database_url, config=usual(908)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(908, 2000)
        await rig.pass_time(200)
        monkeypatch.setattr(SharedBudget, "take", noted)
        await rig.stop(session["id"])
        await rig.pass_time(25)
        assert (await rig.session(session["id"]))["status"] == "stopping"
        assert asked == [Purpose.STOP, *[Purpose.START, Purpose.STOP] * 2]


@pytest.mark.parametrize("lost", ["the count of requests", "the answer to the commit of the intent"])
async def test_F58_a_stop_that_a_lost_connection_to_the_database_kept_from_being_sent_is_sent_at_once(
    database_url: str, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, take = SharedBudget.take, Turns._take_together
    losses = 0

    async def count_lost(
        self: SharedBudget, operator: OperatorId, purpose: Purpose, now: datetime
    ) -> datetime | None:
        nonlocal losses
        if purpose is Purpose.STOP and not losses and lost == "the count of requests":
            losses += 1
            raise ConnectionResetError
        return await taken(self, operator, purpose, now)

    async def answer_lost(self: Turns, turns: Sequence[Turn]) -> None:
        nonlocal losses
        await take(self, turns)
        decided = [turn for turn in turns if turn.advanced and isinstance(turn.advanced.step, SendStop)]
        if decided and not losses and lost != "the count of requests":
            losses += 1
            decided[0].error = ConnectionResetError()

    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(106, 2000)
        await rig.pass_time(120)
        monkeypatch.setattr(SharedBudget, "take", count_lost)
        monkeypatch.setattr(Turns, "_take_together", answer_lost)
        await rig.stop(session["id"])
        asked_at = rig.clock.now()
        await rig.pass_time(8)
        (sent,) = [line.at for line in rig.monta.requests if line.path.endswith("/stop")]
        assert losses == 1
        assert (sent - asked_at).total_seconds() < 2


async def test_F58_a_stop_is_not_repeated_because_the_answer_to_the_commit_of_its_outcome_is_lost(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Turns._take_together
    lost: list[Turn] = []

    async def answer_lost(self: Turns, turns: Sequence[Turn]) -> None:
        await take(self, turns)
        sent = [turn for turn in turns if turn.previous and isinstance(turn.previous.step, SendStop)]
        if sent and not lost:
            lost.append(sent[0])
            sent[0].error = ConnectionResetError()

    async with open_rig(database_url, config=usual(908)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(908, 2000)
        await rig.pass_time(120)
        monkeypatch.setattr(Turns, "_take_together", answer_lost)
        await rig.stop(session["id"])
        await rig.pass_time(8)
        assert lost
        assert len([line for line in rig.monta.requests if line.path.endswith("/stop")]) == 1
        assert "stop_failed" not in await kinds(rig, session["id"])
