"""Tests of app/domain/tariff/time_windows.

Tariffs that are over, or not begun: the next source of prices counts, and operations are told.
"""

from datetime import timedelta

import pytest

from app.domain.tariff import parse_tariff
from app.flows.admin import provision
from tests.journeys.checks import ended
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig

pytestmark = pytest.mark.anyio


def dated(rig: Rig, price: str, *, start_s: float | None = None, end_s: float | None = None) -> Json:
    moments = {"start_date_time": start_s, "end_date_time": end_s}
    now = rig.clock.now()
    return energy_tariff(price) | {
        name: (now + timedelta(seconds=at)).isoformat() for name, at in moments.items() if at is not None
    }


async def source_of(rig: Rig, point: int, **more: object) -> tuple[str | None, list[str]]:
    session = await rig.authorize(point, 2000, **more)
    shown = await rig.ops_session(session["id"])
    return shown["tariff_source"], shown["tariff_gaps"]


async def test_F113_a_tariff_that_ended_prices_nothing_and_is_reported(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(dated(rig, "0.10", end_s=3600))
        assert (await source_of(rig, 106))[0] == "operator"
        await rig.pass_time(4600)
        assert (await source_of(rig, 101))[0] == "monta_price_group"
        shown = (await rig.call("GET", "/v1/charge-points/101")).json()["price"]
        assert shown["id"].startswith("monta-pg-")
        summary = (await rig.call("GET", "/v1/ops/summary", key=rig.ops.api_key)).json()
        assert "prices nothing now: it ended at" in summary["operators"][0]["setup_problem"]


async def test_F113_a_tariff_begins_when_it_says(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(dated(rig, "0.10", start_s=600))
        assert (await source_of(rig, 101))[0] == "monta_price_group"
        await rig.pass_time(601)
        assert (await source_of(rig, 102))[0] == "operator"


async def test_F113_a_payments_tariff_that_is_over_counts_as_none_and_operations_see_it(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        source, gaps = await source_of(rig, 101, tariff=dated(rig, "0.01", end_s=-1))
        assert source == "monta_price_group"
        assert "the tariff that came with the payment prices nothing now" in gaps[0]
        source, gaps = await source_of(rig, 102, tariff=dated(rig, "0.60", start_s=-10, end_s=86_400))
        assert (source, gaps) == ("payment", [])


async def test_F113_an_expired_tariff_is_refused(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        tariff = parse_tariff(dated(rig, "0.10", end_s=0))
        with pytest.raises(provision.TariffExpired):
            await provision.set_tariff(rig.context, rig.operator.operator_id, None, tariff)
        assert (await source_of(rig, 101))[0] == "monta_price_group"


async def test_F113_a_charge_that_outlasts_its_tariff_keeps_within_the_hold(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 1000, tariff=dated(rig, "0.05", end_s=120))
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert last["settlement"]["shortfall"] == 0
