"""Tests of app/flows/session/start_charge.

Starts that go wrong: refused, lost, late, slow, doubled; never a second charge, never a hold that is kept.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from app.simulator.config import Driver, PointConfig, SimulatorConfig
from app.simulator.faults.catalog import FaultKind
from tests.journeys.checks import ended, kinds, minor, starts, the_charge
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

QUICK = usual()
SHORT_STAY = PointConfig(
    id=107,
    name="Short stays",
    max_w=50_000,
    price_group_id=25,
    direct_current=True,
    meter_interval_s=10.0,
    driver=Driver(unplugs_after_wh=400, next_car_after_s=15.0),
)
"""A driver who leaves after about half a minute, and the next one who is there at once."""


def with_point(point: PointConfig, **more: object) -> SimulatorConfig:
    return replace(QUICK, points=(*QUICK.points, point), **more)  # type: ignore[arg-type]  # by name


async def released(rig: Rig, session: Json, reason: str, *, posts: int) -> Json:
    last = await ended(rig, session, posts=posts)
    assert (last["status"], last["not_started_reason"]) == ("not_started", reason)
    assert last["settlement"]["action"] == "release"
    return last


async def test_F33_a_start_that_monta_refuses_releases_the_hold_at_once(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(901)
        await rig.pass_time(1)
        assert (await rig.session(session["id"]))["status"] == "not_started"
        await released(rig, session, "refused", posts=0)
        assert rig.calls("POST", "/charges") == 1


async def test_F33_a_charge_point_that_is_offline_refuses_and_is_free_for_the_next_card(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(902)) as rig:
        session = await rig.authorize(902)
        await released(rig, session, "refused", posts=0)
        rig.monta.set_offline(session["charge_point_id"], False)
        second = await rig.authorize(902)
        assert (await rig.until(second["id"], "charging"))["charge"]["state"] == "charging"


async def test_F47_a_charge_started_by_others_is_never_ours(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        foreign = rig.monta.local_start(
            rig_point := (await rig.call("GET", "/v1/charge-points/106")).json()["id"]
        )
        session = await rig.authorize(int(rig_point))
        last = await rig.until(session["id"], "not_started", within_s=10)
        await rig.pass_time(120)
        assert last["not_started_reason"] == "refused"
        assert (await rig.session(session["id"]))["charge"] is None
        assert foreign.state == "charging"
        assert rig.stops() == 0


async def test_F19_a_lost_answer_is_found_and_adopted_without_a_second_post(database_url: str) -> None:
    async with open_rig(database_url, config=usual(903)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(903, 250)
        await rig.pass_time(6)
        found = await rig.session(session["id"])
        assert found["charge"]["id"] == str(the_charge(rig).id)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0
        assert "start_unknown" in await kinds(rig, session["id"])


async def test_F19_without_webhooks_the_search_alone_finds_the_charge(database_url: str) -> None:
    async with open_rig(database_url, config=usual(903), public_url=None) as rig:
        session = await rig.authorize(903, 250)
        await rig.pass_time(3)
        lines = await rig.journal(session["id"])
        (adopted,) = [line for line in lines if line["kind"] == "charge_adopted"]
        assert adopted["source"] == "monta_api"
        assert len(starts(rig)) == 1


async def test_F21_a_502_though_the_charge_runs_is_unknown_and_not_a_refusal(database_url: str) -> None:
    async with open_rig(database_url, config=usual(905)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(905, 250)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


@pytest.mark.parametrize("public_url", [None, "https://tapwatt.test"])
async def test_F20_a_charge_that_appears_late_is_adopted_within_the_quiet_window(
    database_url: str, public_url: str | None
) -> None:
    async with open_rig(database_url, config=usual(904), public_url=public_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(904, 250)
        await rig.pass_time(40)
        assert rig.monta.charges() == []
        assert (await rig.session(session["id"]))["status"] == "authorized"
        await rig.pass_time(30)
        assert (await rig.session(session["id"]))["charge"]["id"] == str(the_charge(rig).id)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F20_a_charge_later_than_the_quiet_window_is_stopped_and_never_captured(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=with_point(SHORT_STAY), public_url=None) as rig:
        rig.monta.faults.next("POST", "/charges", FaultKind.LATE_EFFECT, seconds=400)
        session = await rig.authorize(107, 5000)
        last = await ended(rig, session, posts=2)
        paid, duplicate = rig.monta.charges()
        assert duplicate.created_at - paid.created_at > timedelta(seconds=200)
        assert last["settlement"]["amount_to_capture"] == minor(paid.price) > 0
        assert last["needs_attention"]
        assert (await rig.ops_session(session["id"]))["duplicate_charges"][0]["id"] == str(duplicate.id)
        assert duplicate.stop_reason == "api"
        assert duplicate.metered_wh < 600


async def test_F34_a_charge_that_turns_up_after_the_release_is_stopped(database_url: str) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        rig.monta.faults.next("POST", "/charges", FaultKind.LATE_EFFECT, seconds=700)
        rig.monta.faults.next("POST", "/charges", FaultKind.REQUEST_LOST)
        session = await rig.authorize(106)
        early = await rig.until(session["id"], "not_started")
        assert rig.monta.charges() == []
        last = await released(rig, session, "start_timeout", posts=2)
        assert last["settlement"] == early["settlement"]
        assert the_charge(rig).stop_reason == "api"
        assert the_charge(rig).stops_asked == 1
        assert last["needs_attention"]


async def test_F34_a_webhook_alone_uncovers_a_charge_after_the_release(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.faults.next("POST", "/charges", FaultKind.LATE_EFFECT, seconds=615)
        rig.monta.faults.next("POST", "/charges", FaultKind.REQUEST_LOST)
        session = await rig.authorize(106)
        await rig.until(session["id"], "not_started")
        await rig.pass_time(340)
        charge = the_charge(rig)
        assert charge.stop_reason == "api"
        lines = await rig.journal(session["id"])
        (found,) = [line for line in lines if line["kind"] == "duplicate_charge_found"]
        assert found["source"] == "monta_webhook"
        await released(rig, session, "start_timeout", posts=2)


async def test_F31_a_cable_that_is_never_plugged_in_releases_the_hold_at_the_deadline(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(906)
        await rig.pass_time(290)
        assert (await rig.session(session["id"]))["status"] == "starting"
        await rig.pass_time(60)
        assert (await rig.session(session["id"]))["status"] == "not_started"
        await released(rig, session, "start_timeout", posts=1)
        assert the_charge(rig).stops_asked == 1


async def test_F31_the_stop_at_the_deadline_is_confirmed_before_the_release(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(906)
        at = rig.clock.now()
        rig.monta.faults.between(
            at + timedelta(seconds=280), at + timedelta(seconds=500), FaultKind.UNAVAILABLE, path="/charges/*"
        )
        await rig.pass_time(490)
        assert (await rig.session(session["id"]))["status"] == "stopping"
        await released(rig, session, "start_timeout", posts=1)


async def test_a_driver_who_plugs_in_late_but_in_time_charges_as_usual(database_url: str) -> None:
    async with open_rig(database_url, config=usual(924)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(924, 250)
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_a_driver_who_plugs_in_as_the_deadline_passes_pays_for_what_flowed_or_nothing(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(906)
        await rig.pass_time(299)
        rig.monta.plug_in(session["charge_point_id"])
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)


async def test_F26_a_429_at_the_start_waits_as_monta_says_and_starts_once(database_url: str) -> None:
    async with open_rig(database_url, config=usual(919)) as rig:
        began = rig.clock.now()
        session = await rig.authorize(919, 250)
        await rig.until(session["id"], "starting", "charging")
        waited = (the_charge(rig).created_at - began).total_seconds()
        assert 10 <= waited <= 20
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0
        assert rig.calls("POST", "/charges") == 3


async def test_F26_a_quota_that_stays_used_up_releases_at_the_deadline(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.faults.next("POST", "/charges", FaultKind.THROTTLED, times=1000)
        session = await rig.authorize(106)
        await released(rig, session, "start_timeout", posts=0)
        assert rig.calls("POST", "/charges") < 70


async def test_a_slow_answer_is_waited_for(database_url: str) -> None:
    async with open_rig(database_url, config=usual(920)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(920, 250)
        await rig.pass_time(19)
        assert (await rig.session(session["id"]))["status"] == "authorized"
        await rig.pass_time(2)
        assert (await rig.session(session["id"]))["charge"]["id"] == str(the_charge(rig).id)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F23_of_two_charges_from_one_post_one_is_paid_for_and_the_other_stopped(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(921)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(921, 250)
        last = await ended(rig, session)
        paid, spare = rig.monta.charges()
        assert last["charge"]["id"] == str(paid.id)
        assert last["settlement"]["amount_to_capture"] == minor(paid.price) > 0
        assert spare.stops_asked == 1
        assert last["needs_attention"]


async def test_F25_a_webhook_before_the_answer_makes_no_second_charge(database_url: str) -> None:
    async with open_rig(database_url, config=usual(912)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(912, 250)
        last = await ended(rig, session)
        assert last["charge"]["id"] == str(the_charge(rig).id)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0
        assert not last["needs_attention"]


async def test_F25_a_webhook_adopts_the_charge_before_any_search(database_url: str) -> None:
    config = replace(QUICK, webhook_cadence_s=0.5, webhook_latency_s=0.1)
    async with open_rig(database_url, config=config) as rig:
        rig.monta.faults.next("POST", "/charges", FaultKind.ANSWER_LOST)
        session = await rig.authorize(106, 500)
        await rig.pass_time(1.5)
        lines = await rig.journal(session["id"])
        (adopted,) = [line for line in lines if line["kind"] == "charge_adopted"]
        assert adopted["source"] == "monta_webhook"
        await ended(rig, session)


async def test_a_wrapped_answer_is_understood(database_url: str) -> None:
    async with open_rig(database_url, config=usual(922)) as rig:
        session = await rig.authorize(922, 250)
        await rig.pass_time(1)
        assert (await rig.session(session["id"]))["charge"]["id"] == str(the_charge(rig).id)
        assert "start_unknown" not in await kinds(rig, session["id"])


async def test_F30_monta_unreachable_at_the_start_releases_once_and_never_bursts_later(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        at = rig.clock.now()
        rig.monta.faults.between(at, at + timedelta(minutes=30), FaultKind.UNREACHABLE)
        session = await rig.authorize(106)
        early = await rig.until(session["id"], "not_started", within_s=310)
        await rig.pass_time(1800)
        last = await released(rig, session, "start_timeout", posts=0)
        assert last["settlement"] == early["settlement"]
        assert rig.monta.charges() == []
        assert rig.calls("POST", "/charges") < 20


async def test_F30_after_a_503_of_a_gateway_the_start_is_unknown_until_monta_answers_a_search(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        at = rig.clock.now()
        rig.monta.faults.between(at, at + timedelta(minutes=30), FaultKind.UNAVAILABLE)
        session = await rig.authorize(106)
        await rig.pass_time(1790)
        assert (await rig.session(session["id"]))["status"] == "authorized"
        await rig.pass_time(60)
        assert (await rig.session(session["id"]))["status"] == "not_started"
        await released(rig, session, "start_timeout", posts=1)
        assert rig.monta.charges() == []


async def test_F30_an_outage_that_ends_in_time_starts_the_charge_once(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        at = rig.clock.now()
        rig.monta.faults.between(at, at + timedelta(seconds=100), FaultKind.UNREACHABLE)
        session = await rig.authorize(106, 500)
        await rig.until(session["id"], "charging", within_s=200)
        await ended(rig, session)


async def test_F27_a_token_that_dies_in_flight_is_renewed_once_and_the_start_sent_again(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.tokens.expire_access()
        renewals = rig.calls("POST", "/auth/refresh")
        session = await rig.authorize(106, 500)
        await rig.until(session["id"], "charging")
        statuses = [line.status for line in rig.monta.requests if line.path == "/charges"]
        assert statuses == [401, 200]
        assert rig.calls("POST", "/auth/refresh") == renewals + 1
        await ended(rig, session)


async def test_F29_credentials_that_are_revoked_release_the_hold_at_the_deadline(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.tokens.revoked = True
        session = await rig.authorize(106)
        await released(rig, session, "start_timeout", posts=0)


async def test_F14_a_cancel_before_the_start_was_sent_never_starts_anything(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106)
        assert (await rig.stop(session["id"]))["status"] == "authorized"
        await released(rig, session, "canceled", posts=0)
        assert rig.calls("POST", "/charges") == 0


async def test_F14_a_cancel_while_the_start_is_under_way_waits_for_it_and_then_stops(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(920)) as rig:
        session = await rig.authorize(920)
        await rig.pass_time(5)
        assert (await rig.stop(session["id"]))["status"] == "authorized"
        await rig.pass_time(10)
        assert (await rig.session(session["id"]))["status"] == "authorized"
        last = await ended(rig, session)
        assert last["stop_reason"] == "driver"
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0
        assert the_charge(rig).stops_asked == 1


async def test_F14_a_cancel_unknown_waits_for_the_quiet_window_and_stops_what_turns_up(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(904)) as rig:
        session = await rig.authorize(904)
        await rig.pass_time(10)
        await rig.stop(session["id"])
        await rig.pass_time(20)
        assert (await rig.session(session["id"]))["status"] == "authorized"
        last = await ended(rig, session)
        assert the_charge(rig).stops_asked == 1
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)
        assert (the_charge(rig).price or Decimal(0)) < 1


async def test_F14_a_cancel_before_the_cable_is_plugged_in_is_a_release(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(906)
        await rig.pass_time(20)
        await rig.stop(session["id"])
        await released(rig, session, "canceled", posts=1)


async def test_F75_a_cancel_unknown_with_nothing_found_releases_after_the_quiet_window_only(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.faults.next("POST", "/charges", FaultKind.REQUEST_LOST)
        session = await rig.authorize(106)
        await rig.pass_time(10)
        await rig.stop(session["id"])
        await rig.pass_time(105)
        assert (await rig.session(session["id"]))["status"] == "authorized"
        await rig.pass_time(10)
        assert (await rig.session(session["id"]))["status"] == "not_started"
        await released(rig, session, "canceled", posts=1)


async def test_F20_after_the_quiet_window_an_undone_start_is_sent_once_more(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        rig.monta.faults.next("POST", "/charges", FaultKind.REQUEST_LOST)
        session = await rig.authorize(106, 500)
        last = await ended(rig, session, posts=2)
        first, second = (line.at for line in starts(rig))
        assert second - first >= timedelta(seconds=120)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F23_a_search_that_lags_never_leads_to_two_running_charges(database_url: str) -> None:
    async with open_rig(database_url, config=usual(903), public_url=None) as rig:
        rig.monta.faults.search_lag_s = 90
        session = await rig.authorize(903, 250)
        last = await ended(rig, session)
        assert last["charge"]["id"] == str(the_charge(rig).id)
