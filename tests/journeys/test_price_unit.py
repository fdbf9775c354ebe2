"""Tests of app/domain/session/plausibility.

Prices in minor units: set for an operator, from the webhook to the settlement; and a watcher's own figures.
"""

from dataclasses import replace

import pytest

from app.flows.admin import provision
from app.simulator.server import default_config
from app.telemetry import ProcessTelemetry
from tests.journeys.checks import ended, minor, the_charge
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("tariff", [None, energy_tariff("0.79")], ids=["no tariff", "tariff"])
async def test_F113_prices_in_minor_units_are_read_so_from_webhook_to_settlement(
    database_url: str, tariff: dict[str, object] | None
) -> None:
    config = replace(default_config(), prices_in_minor_units=True)
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


async def test_F113_a_unit_that_was_wrong_is_mended_while_a_charge_runs(database_url: str) -> None:
    config = replace(default_config(), prices_in_minor_units=True)
    async with open_rig(database_url, config=config) as rig:
        session = await rig.authorize(907, 5000, tariff=energy_tariff("0.79"))
        await rig.pass_time(100)
        await provision.set_price_unit(rig.context, rig.operator.operator_id, "minor")
        last = await rig.until(session["id"], "completed")
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)


async def test_F113_a_watchers_turns_and_lateness_are_measured(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await ended(rig, await rig.authorize(907, 1000))
        assert isinstance(rig.context.telemetry, ProcessTelemetry)
        figures = rig.context.telemetry.registry
        for name in ("tapwatt_watcher_turn_seconds_count", "tapwatt_watcher_lateness_seconds_count"):
            assert (figures.get_sample_value(name) or 0) > 5
