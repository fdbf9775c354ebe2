"""Tests of app/domain/session/plausibility.

Prices in minor units: set for an operator, from the webhook to the settlement; and a watcher's own metrics.
"""

from datetime import timedelta

import pytest

from app.domain.units.ids import SessionId
from app.flows.admin import provision
from app.simulator.faults.catalog import FaultKind
from app.store.sessions import payment_sessions
from app.telemetry import ProcessTelemetry
from tests.journeys.checks import ended, minor, the_charge
from tests.journeys.deliveries import as_monta_shows_it, deliver, entry, later
from tests.journeys.rig import energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("tariff", [None, energy_tariff("0.79")], ids=["no tariff", "tariff"])
async def test_F113_prices_in_minor_units_are_read_so_from_webhook_to_settlement(
    database_url: str, tariff: dict[str, object] | None
) -> None:
    config = usual(prices_in_minor_units=True)
    async with open_rig(database_url, config=config) as rig:
        await provision.set_price_unit(rig.context, rig.operator.operator_id, "minor")
        await rig.pass_time(30)
        more = {} if tariff is None else {"tariff": tariff}
        session = await rig.authorize(106, 1000, **more)
        await rig.pass_time(150)
        running = await rig.session(session["id"])
        assert running["status"] == "charging"
        assert abs(running["amount_used"] - minor(the_charge(rig).price)) < 200
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert 700 < last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)
        assert last["settlement"]["shortfall"] == 0


async def test_F113_prices_of_webhooks_reach_the_session_in_the_operators_unit(database_url: str) -> None:
    """Seen while it runs: at the end the record, which is read in the right unit, would hide a wrong one."""
    config = usual(prices_in_minor_units=True)
    async with open_rig(database_url, config=config) as rig:
        await provision.set_price_unit(rig.context, rig.operator.operator_id, "minor")
        session = await rig.authorize(907, 5000, tariff=energy_tariff("0.79"))
        seen = []
        for _ in range(20):
            await rig.pass_time(10)
            reads = sum(line.path.startswith("/charges/") for line in rig.monta.requests)
            async with rig.context.database.transaction() as connection:
                recorded = await payment_sessions.get(connection, SessionId(session["id"]))
            if recorded is not None and recorded.charge is not None and recorded.charge.latest.price:
                seen.append((recorded.charge.latest.price, the_charge(rig).price, reads))
        assert len(seen) > 3
        assert {reads for _, _, reads in seen} == {0}, "all of it by webhooks"
        for price, true, _ in seen:
            assert true is not None
            assert true / 2 < price <= true


async def test_a_price_in_minor_units_that_only_a_webhook_of_the_end_tells_is_read_so(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(prices_in_minor_units=True)) as rig:
        await provision.set_price_unit(rig.context, rig.operator.operator_id, "minor")
        session = await rig.authorize(907, 5000, tariff=energy_tariff("0.79"))
        await rig.pass_time(100)
        charge = await as_monta_shows_it(rig)
        rig.monta.outbox.config = None
        now = rig.clock.now()
        rig.monta.faults.between(now, now + timedelta(minutes=5), FaultKind.UNREACHABLE)
        told = later(rig, charge, 40) | {"state": "stopped", "stoppedAt": now.isoformat()}
        assert await deliver(rig, entry(rig, told)) == 200
        await rig.work()
        async with rig.context.database.read() as connection:
            recorded = await payment_sessions.get(connection, SessionId(session["id"]))
        assert recorded is not None
        assert recorded.charge is not None
        assert recorded.charge.ended
        assert float(recorded.charge.latest.price or 0) == pytest.approx(told["price"] / 100)


async def test_F113_a_unit_that_was_wrong_is_mended_while_a_charge_runs(database_url: str) -> None:
    config = usual(prices_in_minor_units=True)
    async with open_rig(database_url, config=config) as rig:
        session = await rig.authorize(907, 5000, tariff=energy_tariff("0.79"))
        await rig.pass_time(100)
        await provision.set_price_unit(rig.context, rig.operator.operator_id, "minor")
        last = await rig.until(session["id"], "completed")
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)


async def test_F113_a_watchers_claims_and_lateness_are_measured(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await ended(rig, await rig.authorize(907, 1000))
        await rig.until((await rig.authorize(901, 1000))["id"], "not_started")
        assert isinstance(rig.context.telemetry, ProcessTelemetry)
        figures = rig.context.telemetry.registry
        for name in ("tapwatt_watcher_claim_seconds_count", "tapwatt_watcher_lateness_seconds_count"):
            assert (figures.get_sample_value(name) or 0) > 5
        for call, outcome in (
            ("POST /charges", "done"),
            ("POST /charges", "refused"),
            ("GET /charges/{id}", "done"),
            ("POST /auth/token", "done"),
        ):
            labels = {"call": call, "outcome": outcome}
            assert figures.get_sample_value("tapwatt_monta_calls_total", labels), labels


async def test_how_late_stops_are_sent_is_measured(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 5000)
        await rig.pass_time(100)
        await rig.stop(session["id"])
        await rig.until(session["id"], "completed")
        assert isinstance(rig.context.telemetry, ProcessTelemetry)
        figures = rig.context.telemetry.registry
        assert 0 < rig.stops() == figures.get_sample_value("tapwatt_stop_lateness_seconds_count")


async def test_a_stop_that_is_sent_late_is_measured_by_as_much(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 5000)
        await rig.pass_time(100)
        assert isinstance(rig.context.telemetry, ProcessTelemetry)
        figures = rig.context.telemetry.registry
        claims_s, stops_s = [f"tapwatt_{of}_lateness_seconds_sum" for of in ("watcher", "stop")]
        before_s = figures.get_sample_value(claims_s) or 0
        await rig.stop(session["id"])
        await rig.clock.advance(7)  # no watcher works meanwhile
        await rig.work()
        assert rig.stops() == 1
        assert figures.get_sample_value(stops_s) == 7
        assert (figures.get_sample_value(claims_s) or 0) - before_s == pytest.approx(7)


async def test_a_stop_that_takes_effect_and_a_settlement_are_measured_once(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(918, 500)
        last = await rig.until(session["id"], "completed")
        async with rig.context.database.transaction() as connection:
            saved = await payment_sessions.get(connection, session["id"])
            await payment_sessions.wake(connection, session["id"], rig.clock.now())
        await rig.work()  # one more turn of the session
        assert saved is not None
        assert saved.stop is not None
        assert saved.stop.confirmed_at is not None
        took_s = (saved.stop.confirmed_at - saved.stop.decided_at).total_seconds()
        assert isinstance(rig.context.telemetry, ProcessTelemetry)
        figures = rig.context.telemetry.registry
        assert figures.get_sample_value("tapwatt_stop_latency_seconds_count") == 1
        assert figures.get_sample_value("tapwatt_stop_latency_seconds_sum") == took_s > 0
        assert figures.get_sample_value("tapwatt_sessions_settled_total") == 1
        beyond = figures.get_sample_value("tapwatt_overshoot_minor_total", {"currency": "EUR"})
        assert beyond == last["settlement"]["shortfall"] > 0
