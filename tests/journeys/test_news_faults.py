"""Tests of app/flows/webhook/receive, app/flows/session/advance.

Webhooks that are lost, late, doubled, shuffled, forged or poisoned: the record decides, polling carries.
"""

import pytest
from sqlalchemy import insert, select, text
from structlog.testing import capture_logs

from app.store.tables import inbox
from tests.journeys.checks import ended, kinds, minor, the_charge
from tests.journeys.deliveries import as_monta_shows_it, deliver, entry
from tests.journeys.rig import energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

PRICE = energy_tariff("0.79")


async def test_F37_without_any_webhook_polling_alone_follows_stops_and_settles(database_url: str) -> None:
    async with open_rig(database_url, config=usual(910)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(910, 1000)
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 700
        assert last["settlement"]["shortfall"] == 0
        sources = {line["source"] for line in await rig.journal(session["id"])}
        assert "monta_webhook" not in sources


async def test_F114_a_webhook_of_the_charge_that_raced_its_adoption_is_applied_soon(
    database_url: str,
) -> None:
    """Its transaction found no session with this charge, woke none, and was committed after the adoption."""
    async with open_rig(database_url, public_url=None) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(101, 5000)
        await rig.until(session["id"], "starting", "charging")
        late = {
            "operator_id": rig.operator.operator_id,
            "received_at": rig.clock.now(),
            "dedupe_key": "late",
            "raw": {},
            "charge_id": str(the_charge(rig).id),
        }
        async with rig.context.database.transaction() as connection:
            await connection.execute(insert(inbox).values(late))
        await rig.pass_time(11)
        async with rig.context.database.transaction() as connection:
            assert (await connection.execute(select(inbox.c.applied_at))).scalar_one() is not None


async def test_F37_polling_keeps_within_montas_quota(database_url: str) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        session = await rig.authorize(101, 5000)
        await rig.pass_time(3600)
        assert (await rig.session(session["id"]))["status"] == "charging"
        assert rig.calls("GET", f"/charges/{the_charge(rig).id}") <= 75


@pytest.mark.parametrize("loss", [0.5, 0.9])
async def test_F37_whatever_share_of_webhooks_is_lost_the_bill_is_the_same(
    database_url: str, loss: float
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(PRICE)
        rig.monta.faults.webhook_loss = loss
        session = await rig.authorize(907, 2000)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F38_F39_webhooks_that_come_twice_late_and_shuffled_have_no_other_effect(
    database_url: str,
) -> None:
    async with open_rig(database_url, config=usual(911)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(911, 1000)
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 700
        assert last["settlement"]["shortfall"] == 0
        assert not last["needs_attention"]
        story = await kinds(rig, session["id"])
        assert "charge_restarted" not in story
        assert story.count("charge_adopted") == 1


async def test_F39_an_old_delivery_sent_again_changes_nothing(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 2000)
        last = await ended(rig, session)
        lines = len(await rig.journal(session["id"]))
        for old in list(rig.monta.deliveries):
            answer = await rig.http.post(
                rig.operator.webhook_path, content=old.body, headers=dict(old.headers)
            )
            assert answer.status_code == 200
        await rig.pass_time(60)
        assert await rig.session(session["id"]) == last
        assert len(await rig.journal(session["id"])) == lines


async def test_F40_F41_a_poisoned_or_unknown_entry_never_harms_the_others(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 5000)
        await rig.pass_time(70)
        charge = await as_monta_shows_it(rig)
        good = entry(rig, charge | {"consumedKwh": 9.99, "updatedAt": rig.clock.now().isoformat()})
        unknown = entry(rig, charge | {"id": 4711, "partnerExternalId": "ps_of_nobody"})
        poison = [None, 7, {}, {"entityType": "charge", "payload": 3}, {"entityType": "wallet-transaction"}]
        odd = entry(rig, charge | {"priceLimit": "free", "updatedAt": rig.clock.now().isoformat()})
        with capture_logs() as lines:
            assert await deliver(rig, *poison, unknown, odd, good) == 200
        (left_out,) = [line for line in lines if line["event"] == "webhook_fields_left_out"]
        assert left_out["fields"] == ["priceLimit"]
        await rig.work()
        assert (await rig.session(session["id"]))["energy_wh"] == 9990


async def test_F44_a_forged_delivery_is_refused_and_has_no_effect(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 5000)
        await rig.pass_time(70)
        before = await rig.session(session["id"])
        forged = entry(rig, await as_monta_shows_it(rig) | {"state": "completed", "price": 0})
        assert await deliver(rig, forged, secret="another operator's secret") == 401
        await rig.work()
        assert await rig.session(session["id"]) == before


async def test_a_webhook_that_says_completed_is_checked_against_the_record_before_settling(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 2000)
        await rig.until(session["id"], "finishing")
        reads = rig.calls("GET", f"/charges/{the_charge(rig).id}")
        last = await ended(rig, session)
        assert rig.calls("GET", f"/charges/{the_charge(rig).id}") > reads
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price)


async def test_F48_a_meter_that_runs_backwards_never_lowers_what_was_seen(database_url: str) -> None:
    async with open_rig(database_url, config=usual(913)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(913, 1000)
        last = await ended(rig, session)
        energies = [each["energy_wh"] for each in rig.seen[session["id"]]]
        assert energies == sorted(energies)
        assert "meter_ran_backwards" in await kinds(rig, session["id"])
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 700
        assert last["settlement"]["shortfall"] == 0


async def test_F50_a_meter_that_stays_silent_for_too_long_counts_as_full_power(database_url: str) -> None:
    async with open_rig(database_url, config=usual(910, 914)) as rig:
        await rig.set_tariff(PRICE)
        session = await rig.authorize(914, 1000)
        await rig.pass_time(100)
        rig.monta.set_offline(session["charge_point_id"], True)
        silent_since = rig.clock.now()
        await rig.until(session["id"], "stopping", within_s=3000)
        silent_s = (rig.clock.now() - silent_since).total_seconds()
        assert 1800 < silent_s < 1800 + 910
        rig.monta.set_offline(session["charge_point_id"], False)
        last = await ended(rig, session)
        assert last["stop_reason"] == "limit_reached"
        assert last["settlement"]["amount_to_capture"] == 1000


async def test_F46_a_webhook_with_our_reference_but_of_another_charge_point_is_left_alone(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 5000)
        await rig.pass_time(70)
        foreign = await as_monta_shows_it(rig) | {"id": 815, "chargePointId": 999}
        assert await deliver(rig, entry(rig, foreign)) == 200
        await rig.pass_time(30)
        assert "/charges/815/stop" not in [line.path for line in rig.monta.requests]
        assert (await rig.session(session["id"]))["needs_attention"]


async def test_every_webhook_entry_about_a_session_is_marked_as_applied(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 2000)
        await ended(rig, session)
        async with rig.context.database.transaction() as connection:
            unread = await connection.execute(
                text("SELECT count(*) FROM inbox WHERE charge_id IS NOT NULL AND applied_at IS NULL")
            )
            assert unread.scalar_one() == 0
