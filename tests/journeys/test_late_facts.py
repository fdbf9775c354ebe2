"""Tests of app/domain/session/late_facts.

Reports after a session has ended: reported once, whichever way they come, and never captured.
"""

from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from app.domain.charging.charge import ChargeState
from app.simulator.faults.catalog import FaultKind
from app.simulator.site.charge import Charge
from tests.journeys.checks import ended, the_charge
from tests.journeys.deliveries import deliver, entry
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig

pytestmark = pytest.mark.anyio


def changed(rig: Rig, *, told: bool, **fields: object) -> Charge:
    """Changes the record; `told`: Monta sends a webhook of it."""
    charge = the_charge(rig)
    for name, value in fields.items():
        setattr(charge, name, value)
    charge.updated_at = rig.clock.now()
    if told:
        rig.monta.outbox._charge(charge, "updated")
    return charge


async def asked(rig: Rig, session: Json) -> list[str]:
    lines = await rig.journal(session["id"])
    return [str(line["detail"]["code"]) for line in lines if line["kind"] == "attention_needed"]


async def confirm(rig: Rig, last: Json) -> None:
    done = {"outcome": "captured", "amount": last["settlement"]["amount_to_capture"], "reference": "psp-1"}
    answer = await rig.call("POST", f"/v1/payment-sessions/{last['id']}/captures", body=done)
    assert answer.json()["settlement"]["status"] == "confirmed"


async def released(rig: Rig) -> Json:
    """A session whose cable was never plugged in: nothing ran, all is released."""
    await rig.set_tariff(energy_tariff("0.79"))
    session = await rig.authorize(906, 2000)
    last = await ended(rig, session)
    assert (last["status"], last["settlement"]["action"]) == ("not_started", "release")
    assert not last["needs_attention"]
    await confirm(rig, last)
    return await rig.session(last["id"])


async def billed(rig: Rig) -> Json:
    await rig.set_tariff(energy_tariff("0.79"))
    last = await ended(rig, await rig.authorize(907, 2000))
    assert (last["status"], last["needs_attention"]) == ("completed", False)
    await confirm(rig, last)
    return await rig.session(last["id"])


ENERGY = {"metered_wh": 6000, "reported_wh": 6000, "price": Decimal("2.94"), "state": ChargeState.COMPLETED}


@pytest.mark.parametrize("told", [True, False], ids=["by_webhook", "by_comparison"])
@pytest.mark.parametrize(
    ("before", "fields"),
    [
        (released, ENERGY),
        (released, ENERGY | {"price": Decimal(0)}),
        (billed, ENERGY | {"metered_wh": 9000, "reported_wh": 9000, "price": Decimal("4.41")}),
        (billed, {"price": Decimal("0.01")}),
        (billed, {"metered_wh": 9000, "reported_wh": 9000}),
        (billed, {"price": Decimal("-0.35")}),
    ],
)
async def test_F100_a_late_fact_is_reported_once_whichever_way_it_comes(
    database_url: str, before: Callable[[Rig], Awaitable[Json]], fields: Json, *, told: bool
) -> None:
    async with open_rig(database_url) as rig:
        last = await before(rig)
        await rig.pass_time(300)
        reads = rig.calls("GET", f"/charges/{the_charge(rig).id}")
        changed(rig, told=told, **fields)
        await rig.pass_time(60 if told else 3700)
        now = await rig.ops_session(last["id"])
        assert now["needs_attention"]
        assert now["settlement"] == last["settlement"]
        await rig.pass_time(7200)
        assert await asked(rig, last) == ["record_changed"]
        assert rig.calls("GET", f"/charges/{the_charge(rig).id}") - reads <= 12


async def test_F100_it_closes_when_the_record_is_as_it_was(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        last = await billed(rig)
        price = the_charge(rig).price
        changed(rig, told=True, price=Decimal("1.00"))
        await rig.pass_time(60)
        assert (await rig.ops_session(last["id"]))["needs_attention"]
        changed(rig, told=True, price=price)
        await rig.pass_time(600)
        assert not (await rig.ops_session(last["id"]))["needs_attention"]


async def test_F100_a_charge_that_runs_again_after_its_end_is_stopped_and_reported(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        last = await billed(rig)
        charge = changed(rig, told=True, state=ChargeState.CHARGING)
        await rig.pass_time(60)
        assert (await rig.ops_session(last["id"]))["needs_attention"]
        assert charge.stops_asked >= 1
        assert await asked(rig, last) == ["duplicate_charge"]


async def test_F100_a_webhook_that_the_record_does_not_bear_out_makes_a_few_reads_and_no_more(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        last = await billed(rig)
        charge = the_charge(rig)
        reads = rig.calls("GET", f"/charges/{charge.id}")
        for n in range(40):
            price, at = charge.price, charge.updated_at
            changed(rig, told=True, price=Decimal(n))
            charge.price, charge.updated_at = price, at
            await rig.pass_time(60)
        await rig.pass_time(7200)
        assert 1 <= rig.calls("GET", f"/charges/{charge.id}") - reads <= 12
        assert not (await rig.ops_session(last["id"]))["needs_attention"]


@pytest.mark.parametrize("gone", [True, False])
async def test_a_webhook_that_a_charge_was_deleted_has_the_record_read_which_decides(
    database_url: str, gone: bool
) -> None:
    async with open_rig(database_url) as rig:
        last = await billed(rig)
        await rig.pass_time(300)
        path = f"/charges/{the_charge(rig).id}"
        reads = rig.calls("GET", path)
        told = entry(rig, {"id": the_charge(rig).id}, "deleted") | {"payload": None}
        if gone:
            rig.monta.faults.next("GET", path, FaultKind.MISSING)
        assert await deliver(rig, told) == 200
        await rig.pass_time(60)
        assert rig.calls("GET", path) > reads
        assert (await rig.ops_session(last["id"]))["needs_attention"] is gone


async def test_F100_energy_after_a_release_is_reported_once_by_the_daily_comparison_too(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        last = await released(rig)
        changed(rig, told=True, **ENERGY)
        await rig.pass_time(90_000)
        assert await asked(rig, last) == ["record_changed"]
