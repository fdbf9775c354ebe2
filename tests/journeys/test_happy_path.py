"""app/flows/session: From the tap to the capture, to the cent: every way in which a charge ends well."""

from datetime import timedelta

import pytest

from app.simulator.server import default_config
from tests.journeys.checks import ended, kinds, minor, nothing_is_left, starts, the_charge
from tests.journeys.rig import energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

EVERYTHING = default_config()
"""All charge points, and webhooks of theirs at each reading."""


async def test_a_driver_who_unplugs_pays_montas_price_and_gets_the_rest_back(database_url: str) -> None:
    async with open_rig(database_url, config=EVERYTHING) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(907, 5000)
        await rig.pass_time(5)
        assert (await rig.session(session["id"]))["status"] in ("starting", "charging")
        last = await ended(rig, session)

        settlement = last["settlement"]
        assert settlement["action"] == "capture"
        assert settlement["amount_to_capture"] == minor(the_charge(rig).price)
        assert settlement["energy_wh"] == the_charge(rig).metered_wh // 10 * 10
        assert last["stop_reason"] == "vehicle_or_charge_point"
        assert rig.stops() == 0


async def test_the_watcher_stops_the_charge_before_the_authorization_is_used_up(database_url: str) -> None:
    async with open_rig(database_url, config=EVERYTHING) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        settlement = last["settlement"]
        assert 1500 < settlement["amount_to_capture"] <= 2000
        assert settlement["shortfall"] == 0


async def test_the_journal_shows_the_whole_story_in_order(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 1000)
        await ended(rig, session)
        lines = await rig.journal(session["id"])
        told = [line["kind"] for line in lines]
        story = (
            "payment_authorized",
            "start_intended",
            "start_accepted",
            "charge_adopted",
            "stop_decided",
            "stop_intended",
            "stop_accepted",
            "settlement_decided",
        )
        assert [kind for kind in told if kind in story] == list(story)
        statuses = [line["detail"]["new"] for line in lines if line["kind"] == "status_changed"]
        assert statuses == ["starting", "charging", "stopping", "finishing", "completed"]
        assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
        assert {line["source"] for line in lines} == {"terminal", "watcher", "monta_api", "monta_webhook"}


async def test_the_driver_stops_at_the_terminal_and_pays_for_what_was_charged(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 5000)
        await rig.pass_time(150)
        assert (await rig.stop(session["id"]))["status"] == "charging"
        again = await rig.stop(session["id"])
        last = await ended(rig, session)
        assert again["id"] == last["id"]
        assert last["stop_reason"] == "driver"
        assert 0 < last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) < 5000
        assert rig.stops() == 1


async def test_the_same_card_shown_again_stops_its_own_session_and_no_other(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        mine = await rig.authorize(106, 5000, authorization={"card": {"fingerprint": "card-1"}})
        other = await rig.authorize(105, 5000, authorization={"card": {"fingerprint": "card-2"}})
        await rig.pass_time(100)
        stopped = await rig.call("POST", "/v1/stop-requests", body={"card_fingerprint": "card-1"})
        assert (stopped.status_code, stopped.json()["id"]) == (202, mine["id"])
        last = await rig.until(mine["id"], "completed")
        assert last["stop_reason"] == "driver"
        assert (await rig.session(other["id"]))["status"] == "charging"
        unknown = await rig.call("POST", "/v1/stop-requests", body={"card_fingerprint": "card-1"})
        assert unknown.status_code == 404


async def test_operations_stop_a_charge_and_the_journal_says_why(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 5000)
        await rig.pass_time(100)
        answer = await rig.call(
            "POST",
            f"/v1/ops/payment-sessions/{session['id']}/stop",
            body={"reason": "smoke at the charger"},
            key=rig.ops.api_key,
        )
        assert answer.status_code == 202
        last = await ended(rig, session)
        assert last["stop_reason"] == "operations"
        requests = [line for line in await rig.journal(session["id"]) if line["kind"] == "stop_requested"]
        assert [line["detail"]["note"] for line in requests] == ["smoke at the charger"]


async def test_a_full_car_ends_its_charge_itself(database_url: str) -> None:
    async with open_rig(database_url, config=usual(915)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(915, 5000)
        last = await ended(rig, session)
        assert last["stop_reason"] == "vehicle_or_charge_point"
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0
        assert rig.stops() == 0


async def test_a_charge_that_fails_on_the_way_is_paid_for_as_far_as_it_went(database_url: str) -> None:
    async with open_rig(database_url, config=usual(923)) as rig:
        session = await rig.authorize(923, 5000)
        last = await ended(rig, session)
        assert the_charge(rig).failure_reason is not None
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_the_drivers_own_energy_limit_is_kept(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.49"))
        session = await rig.authorize(102, 5000, energy_limit_wh=4000)
        last = await ended(rig, session)
        assert last["stop_reason"] in ("limit_reached", "vehicle_or_charge_point")
        assert 3500 < last["settlement"]["energy_wh"] <= 4000


async def test_a_charge_ends_in_time_before_its_hold_expires(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.49"))
        expires_at = rig.clock.now() + timedelta(minutes=30)
        session = await rig.authorize(101, 5000, authorization={"expires_at": expires_at.isoformat()})
        last = await rig.until(session["id"], "completed")
        assert last["stop_reason"] == "hold_expiring"
        assert timedelta(0) < expires_at - rig.clock.now() <= timedelta(minutes=3)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)
        await ended(rig, session)


async def test_F32_a_charge_that_is_paused_for_hours_is_ended_before_its_hold_expires(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.49"))
        expires_at = rig.clock.now() + timedelta(hours=1)
        session = await rig.authorize(102, 5000, authorization={"expires_at": expires_at.isoformat()})
        await rig.pass_time(300)
        rig.monta.pause(session["charge_point_id"])
        await rig.pass_time(2400)
        assert (await rig.session(session["id"]))["status"] == "charging"
        last = await ended(rig, session)
        assert last["stop_reason"] == "hold_expiring"
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_an_expired_hold_is_refused_and_nothing_is_recorded(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        yesterday = (rig.clock.now() - timedelta(days=1)).isoformat()
        payment = rig.payment(106, authorization={"expires_at": yesterday})
        answer = await rig.call("POST", "/v1/payment-sessions", body=payment)
        assert answer.status_code == 422
        assert [e["field"] for e in answer.json()["errors"]] == ["authorization.expires_at"]
        reference = payment["authorization"]["reference"]
        found = await rig.call("GET", f"/v1/payment-sessions?reference={reference}")
        assert found.json()["data"] == []
        await nothing_is_left(rig)
        assert starts(rig) == []


async def test_one_after_the_other_two_drivers_charge_at_the_same_charge_point(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        first = await rig.authorize(907, 5000)
        busy = await rig.call("POST", "/v1/payment-sessions", body=rig.payment(907))
        assert (busy.status_code, busy.json()["code"]) == (409, "charge_point_busy")
        await rig.until(first["id"], "completed")
        await rig.pass_time(60)
        second = await rig.authorize(907, 5000)
        await ended(rig, second, posts=2)
        assert "charge_adopted" in await kinds(rig, second["id"])
        one, other = rig.monta.charges()
        assert {one.partner_external_id, other.partner_external_id} == {first["id"], second["id"]}
