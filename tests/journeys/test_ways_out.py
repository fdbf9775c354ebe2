"""Tests of app/domain/session/stuck_session.

Every session has a way out: its charge point becomes free, its calls are bounded, and operations can end it.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from app.simulator.config import PointConfig, SimulatorConfig
from app.simulator.faults.catalog import FOR_EVER, FaultKind, Misreport, PointFaults
from app.simulator.site.charge import Charge
from tests.journeys.checks import kinds, minor, nothing_is_left, the_charge
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

PRICE = energy_tariff("0.79")
HOUR = timedelta(hours=1)


def config_with(faults: PointFaults) -> SimulatorConfig:
    """Charge point 107, with a car of its own that stays."""
    config = usual()
    point: PointConfig = next(p for p in config.points if p.id == 918)
    return replace(config, points=(*config.points, replace(point, id=107, faults=faults)))


def busiest_hour(rig: Rig, charge_id: str) -> int:
    """The most calls about one charge, and searches for its session, within any hour."""
    at: list[datetime] = [
        line.at for line in rig.monta.requests if charge_id in line.path or "partnerExternalId" in line.query
    ]
    return max((sum(1 for other in at if timedelta(0) <= other - one < HOUR) for one in at), default=0)


async def point_is_free(rig: Rig, charge_point: str) -> bool:
    answer = await rig.call("POST", "/v1/payment-sessions", body=rig.payment(int(charge_point)))
    assert answer.status_code in (201, 409), answer.text
    if answer.status_code == 409:
        assert answer.json()["code"] == "charge_point_busy"
    return answer.status_code == 201


async def close(rig: Rig, session: Json, amount: int, reason: str = "cable cut") -> tuple[int, Json]:
    answer = await rig.call(
        "POST",
        f"/v1/ops/payment-sessions/{session['id']}/close",
        body={"amount": amount, "reason": reason},
        key=rig.ops.api_key,
    )
    return answer.status_code, answer.json()


async def held_for_review(rig: Rig) -> tuple[Json, int]:
    """A session whose final price is a hundred times too high, and the right price in minor units."""
    await rig.set_tariff(PRICE)
    session = await rig.authorize(907, 5000)
    await rig.until(session["id"], "finishing")
    charge = the_charge(rig)
    while charge.state != "completed":
        await rig.pass_time(0.2)
    right = minor(charge.price)
    charge.price = (charge.price or Decimal(0)) * 100
    await rig.pass_time(60)
    return session, right


async def test_F106_a_finished_charge_that_is_held_for_review_does_not_block_its_charge_point(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session, _ = await held_for_review(rig)
        charge = the_charge(rig)
        held = await rig.ops_session(session["id"])
        assert (held["status"], held["needs_attention"]) == ("finishing", True)
        second = await rig.authorize(907, 5000)
        assert (await rig.until(second["id"], "charging"))["charge"]["id"] != str(charge.id)
        assert (await rig.session(session["id"]))["status"] == "finishing"
        assert "charge_point_free" in await kinds(rig, session["id"])


async def test_F106_a_charge_whose_cable_stays_in_frees_its_point_after_minutes(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(918, 5000)
        await rig.pass_time(120)
        rig.monta.stop_button(session["charge_point_id"])
        await rig.until(session["id"], "finishing")
        await rig.pass_time(30)
        assert not await point_is_free(rig, session["charge_point_id"]), "it may be restarted"
        await rig.pass_time(300)
        assert (await rig.session(session["id"]))["status"] == "finishing"
        assert await point_is_free(rig, session["charge_point_id"])


@pytest.mark.parametrize("others", [0, 4])
async def test_F107_a_charge_that_is_gone_is_settled_within_minutes_by_the_plausible_amount(
    database_url: str, others: int
) -> None:
    async with open_rig(
        database_url, config=config_with(PointFaults(misreport=Misreport(gone_after_s=300)))
    ) as rig:
        await rig.set_tariff(PRICE)
        beside = [await rig.authorize(point, 20_000) for point in (101, 102, 103, 906)[:others]]
        session = await rig.authorize(107, 5000)
        await rig.pass_time(290)
        shown = (await rig.session(session["id"]))["amount_used"]
        assert shown > 0
        await rig.until(session["id"], "completed", within_s=1200)
        last = await rig.ops_session(session["id"])
        assert 0 < last["settlement"]["amount_to_capture"] <= shown + 100
        assert last["settlement_basis"] in ("last_price", "tariff_minimum")
        assert last["needs_attention"]
        assert await point_is_free(rig, session["charge_point_id"])
        await rig.pass_time(6 * 3600)
        assert busiest_hour(rig, session["charge"]["id"] if session["charge"] else last["charge"]["id"]) <= 60
        for other in beside:
            assert (await rig.session(other["id"]))["status"] != "authorized"


@pytest.mark.parametrize("word", ["finished-by-hand", "stopping"])
async def test_F107_a_charge_in_a_state_that_never_ends_frees_its_point_and_can_be_settled(
    database_url: str, word: str
) -> None:
    misreport = Misreport(state_word=word, state_word_after_s=200)
    async with open_rig(database_url, config=config_with(PointFaults(misreport=misreport))) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(107, 5000)
        await rig.pass_time(190)
        rig.monta.stop_button(session["charge_point_id"])
        await rig.pass_time(1200)
        held = await rig.ops_session(session["id"])
        assert (held["status"], held["needs_attention"]) == ("finishing", True)
        assert await point_is_free(rig, session["charge_point_id"])
        await rig.pass_time(3 * 3600)
        assert busiest_hour(rig, held["charge"]["id"]) <= 60
        answer = await rig.call(
            "POST",
            f"/v1/ops/payment-sessions/{session['id']}/settle",
            body={"amount": 100, "reason": "meter read"},
            key=rig.ops.api_key,
        )
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("stops", "reads"),
    [
        (FaultKind.FORBIDDEN, FaultKind.FORBIDDEN),
        (FaultKind.REFUSED, None),
        (FaultKind.MISSING, FaultKind.FORBIDDEN),
        (FaultKind.MISSING, FaultKind.UNAVAILABLE),
    ],
)
async def test_F107_stops_that_are_refused_for_ever_are_bounded(
    database_url: str, stops: FaultKind, reads: FaultKind | None
) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(906, 5000)
        await rig.until(session["id"], "starting")
        charge_id = str(the_charge(rig).id)
        at = rig.clock.now()
        rig.monta.faults.between(at, at + timedelta(days=9), stops, path="/charges/*/stop")
        if reads is not None:
            rig.monta.faults.between(at, at + timedelta(days=9), reads, path=f"/charges/{charge_id}")
        last = await rig.until(session["id"], "not_started", within_s=2400)
        assert last["settlement"]["amount_to_release"] == 5000
        await rig.pass_time(2 * 3600)
        assert busiest_hour(rig, charge_id) <= 60


async def test_F107_a_charge_that_is_refused_questions_the_credential_now_and_then(database_url: str) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(906, 5000)
        await rig.until(session["id"], "starting")
        at, charge_id = rig.clock.now(), str(the_charge(rig).id)
        rig.monta.faults.between(at, at + timedelta(days=9), FaultKind.FORBIDDEN, path="/charges/*/stop")
        rig.monta.faults.between(
            at, at + timedelta(days=9), FaultKind.FORBIDDEN, path=f"/charges/{charge_id}"
        )
        before = rig.calls("GET", "/consumers/me")
        await rig.pass_time(3600)
        assert 1 <= rig.calls("GET", "/consumers/me") - before <= 12, "sync asks as well"


async def test_F107_a_stop_that_is_answered_and_has_no_effect_is_bounded_while_nothing_changes(
    database_url: str,
) -> None:
    """The charge point is offline: every stop is answered, the charge stays unchanged."""
    async with open_rig(database_url, config=config_with(PointFaults(stops_ignored=FOR_EVER))) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(107, 5000)
        await rig.pass_time(120)
        rig.monta.set_offline(session["charge_point_id"], True)
        await rig.stop(session["id"])
        await rig.pass_time(3300)
        held = await rig.ops_session(session["id"])
        assert (held["status"], held["settlement"]) == ("finishing", None)
        assert [a["code"] for a in held["attention"]].count("charge_lost") == 1
        assert busiest_hour(rig, held["charge"]["id"]) <= 60
        last = await rig.until(session["id"], "completed")
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price), (
            "its record came after all"
        )


# Close


async def ended_by_hand(rig: Rig, session: Json, amount: int) -> Json:
    status, closed = await close(rig, session, amount)
    assert status == 200, closed
    assert closed["settlement"]["amount_to_capture"] == amount
    assert closed["settlement"]["amount_to_release"] == session["amount_authorized"] - amount
    again = await close(rig, session, amount)
    assert (again[0], again[1]["version"]) == (200, closed["version"]), "told again"
    other = await close(rig, session, amount + 1)
    assert (other[0], other[1]["code"]) == (409, "session_ended")
    assert await point_is_free(rig, session["charge_point_id"]) or any(
        c.state not in ("completed", "stopped") for c in rig.monta.charges()
    )
    await nothing_is_left_of(rig, session)
    last = await rig.ops_session(session["id"])
    assert last["settlement"] == closed["settlement"]
    (line,) = [each for each in await rig.journal(session["id"]) if each["kind"] == "closed_by_operations"]
    assert line["detail"]["reason"] == "cable cut"
    assert line["detail"]["by"].startswith("opk_") or line["detail"]["by"]
    settled = [kind for kind in await kinds(rig, session["id"]) if kind == "settlement_decided"]
    assert len(settled) == 1
    return last


async def nothing_is_left_of(rig: Rig, session: Json) -> None:
    await rig.pass_time(1500)
    mine: list[Charge] = [c for c in rig.monta.charges() if c.partner_external_id == session["id"]]
    assert all(c.flowing is None for c in mine)
    assert all(c.state in ("stopped", "releasing", "released", "completed") for c in mine)


@pytest.mark.parametrize("amount", [0, 700])
@pytest.mark.parametrize("wait_s", [0, 20, 120, 200])
async def test_F109_operations_end_a_session_whatever_it_does(
    database_url: str, wait_s: float, amount: int
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(918, 5000)
        if wait_s:
            await rig.pass_time(wait_s)
        if wait_s == 200:
            await rig.stop(session["id"])
            await rig.pass_time(1)
        last = await ended_by_hand(rig, session, amount)
        assert last["settlement_basis"] == "person"
        assert last["status"] == ("not_started" if not wait_s and not amount else "completed")


@pytest.mark.parametrize(("point", "wait_s"), [(903, 0.5), (904, 3), (904, 60), (906, 30)])
@pytest.mark.parametrize("amount", [0, 500])
async def test_F109_a_start_unknown_is_ended_and_what_comes_of_it_is_stopped(
    database_url: str, point: int, wait_s: float, amount: int
) -> None:
    async with open_rig(database_url, config=usual(903, 904)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(point, 5000)
        await rig.pass_time(wait_s)
        await ended_by_hand(rig, session, amount)
        assert sum(1 for c in rig.monta.charges() if c.partner_external_id == session["id"]) <= 1


async def test_F109_a_session_that_is_held_for_review_is_ended(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session, right = await held_for_review(rig)
        status, closed = await close(rig, session, right)
        assert (status, closed["status"], closed["needs_attention"]) == (200, "completed", False)
        await nothing_is_left(rig)
        assert (await rig.session(session["id"]))["settlement"]["amount_to_capture"] == right


async def test_F109_a_charge_that_no_stop_ends_is_reported_after_the_end(database_url: str) -> None:
    faults = PointFaults(stops_ignored=FOR_EVER, stop_without_trace=True)
    async with open_rig(database_url, config=config_with(faults)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(107, 5000)
        await rig.pass_time(60)
        status, _ = await close(rig, session, 0)
        assert status == 200
        await rig.pass_time(900)
        told = await rig.ops_session(session["id"])
        assert "duplicate_charge_runs" in [item["code"] for item in told["attention"]]
        rig.monta.stop_button(session["charge_point_id"])
        await rig.pass_time(400)
        told = await rig.ops_session(session["id"])
        assert "duplicate_charge_runs" not in [item["code"] for item in told["attention"]]
        assert told["settlement"]["amount_to_capture"] == 0


async def test_F109_what_cannot_be_closed_says_why(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(907, 5000)
        status, problem = await close(rig, session, 5001)
        assert (status, problem["code"], problem["errors"][0]["field"]) == (422, "invalid_request", "amount")
        for amount in (-1, 1.5, None, "12"):
            status, problem = await close(rig, session, amount)  # type: ignore[arg-type]
            assert (status, problem["code"]) == (422, "invalid_request")
        status, problem = await close(rig, {"id": "ps_unknown"}, 1)
        assert (status, problem["code"]) == (404, "not_found")
        last = await rig.until(session["id"], "completed")
        status, problem = await close(rig, session, last["settlement"]["amount_to_capture"])
        assert (status, problem["code"]) == (409, "session_ended")
