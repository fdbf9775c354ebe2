"""Tests of app/flows/webhook/receive, app/flows/operator/sync.

Webhooks that could not be delivered, come by thousands, or grow old.
"""

import time
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.flows.operator.sync import webhook_difference
from app.store.operators import jobs
from app.store.operators.jobs import Job
from app.store.sessions import inbox
from tests.journeys.checks import ended, minor, the_charge
from tests.journeys.deliveries import as_monta_shows_it, deliver, entry
from tests.journeys.rig import Rig, open_rig

pytestmark = pytest.mark.anyio


async def count(rig: Rig, where: str, of: str = "inbox") -> int:
    async with rig.context.database.transaction() as connection:
        found = await connection.execute(text(f"SELECT count(*) FROM {of} WHERE {where}"))
        return int(found.scalar_one())


@pytest.mark.parametrize(
    ("state", "pending"),
    [
        pytest.param("charging", 0, id="of a running charge, applied as it is kept"),
        pytest.param("stopped", 1000, id="of its end, left to the watcher"),
    ],
)
async def test_F43_a_backlog_of_thousands_is_kept_at_once_and_taken_in_by_its_newest(
    database_url: str, state: str, pending: int
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 5000)
        await rig.pass_time(70)
        charge = await as_monta_shows_it(rig)
        now = rig.clock.now()
        backlog = []
        for number in range(1000):
            at = (now - timedelta(seconds=(1000 - number) / 100)).isoformat()
            told = entry(rig, charge | {"state": state, "consumedKwh": number / 200, "updatedAt": at})
            backlog.append(told | {"eventTime": at})
        for first in range(0, 1000, 250):
            assert await deliver(rig, *backlog[first : first + 250]) == 200
        assert await count(rig, "applied_at IS NULL AND charge_id IS NOT NULL") == pending
        begun = time.perf_counter()
        await rig.work()
        assert time.perf_counter() - begun < 5
        assert (await rig.session(session["id"]))["energy_wh"] == 4995
        assert await count(rig, "applied_at IS NULL AND charge_id IS NOT NULL") == 0


async def test_F37_what_monta_could_not_deliver_is_taken_from_its_log_and_reported(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(907, 2000)
        await rig.pass_time(5)
        async with rig.context.database.transaction() as connection:
            await connection.execute(text("UPDATE operators SET webhook_endpoint_id = 'wh_lost'"))
        await rig.pass_time(200)
        kept = await count(rig, "charge_id IS NOT NULL")
        async with rig.context.database.transaction() as connection:
            undo = text("UPDATE operators SET webhook_endpoint_id = :id")
            await connection.execute(undo, {"id": rig.operator.webhook_path.rpartition("/")[2]})
            await jobs.make_due(connection, rig.operator.operator_id, Job.SYNC, rig.clock.now())
        await rig.work()
        assert await count(rig, "charge_id IS NOT NULL") > kept
        summary = (await rig.call("GET", "/v1/ops/summary", key=rig.ops.api_key)).json()
        assert "could not deliver" in summary["operators"][0]["webhook_problem"]
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == minor(the_charge(rig).price) > 0


async def test_F37_without_the_scope_for_the_log_nothing_is_wrong(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.tokens.scopes = frozenset(
            {"charge-points:delete", "price-groups:read", "manage-webhooks:write"}
        )
        await rig.pass_time(1000)
        summary = (await rig.call("GET", "/v1/ops/summary", key=rig.ops.api_key)).json()
        (operator,) = summary["operators"]
        assert (operator["webhook_problem"], operator["sync_problem"]) == (None, None)


async def test_F53_a_changed_webhook_configuration_is_repaired_and_reported(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        config = rig.monta.outbox.config
        assert config is not None
        rig.monta.outbox.config = type(config)(
            url="https://other.example/hook", secret=config.secret, event_types=config.event_types, headers={}
        )
        told = await webhook_difference(rig.context, rig.operator.operator_id)
        assert told == "Monta's webhook leads elsewhere, to other.example"
        await rig.pass_time(901)
        assert rig.monta.outbox.config is not None
        assert rig.monta.outbox.config.url == config.url
        assert await webhook_difference(rig.context, rig.operator.operator_id) is None
        summary = (await rig.call("GET", "/v1/ops/summary", key=rig.ops.api_key)).json()
        assert summary["operators"][0]["webhook_mended_at"] is not None


async def test_a_webhook_configuration_that_differs_is_reported_without_our_secret_path(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        config = rig.monta.outbox.config
        assert config is not None
        rig.monta.outbox.config = type(config)(url=config.url, secret="another", event_types=(), headers={})
        assert "secret" in (await webhook_difference(rig.context, rig.operator.operator_id) or "")
        with capture_logs() as lines:
            await rig.pass_time(901)
        (told,) = [line for line in lines if line["event"] == "webhook_configuration_differs"]
        assert told["host"] == "tapwatt.test"
        assert rig.operator.webhook_path not in str(lines)


async def test_entries_older_than_the_setting_are_deleted_and_younger_ones_stay(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.authorize(907, 2000)
        await rig.pass_time(1000)
        everything = await count(rig, "true")
        assert everything > 0
        assert rig.context.inbox_days == rig.context.delivery_days
        old = rig.clock.now() - timedelta(days=rig.context.inbox_days, seconds=1)
        async with rig.context.database.transaction() as connection:
            await connection.execute(text("UPDATE inbox SET received_at = :old"), {"old": old})
            await connection.execute(text("UPDATE deliveries SET received_at = :old"), {"old": old})
        await rig.pass_time(1000)
        assert await count(rig, "true") == 0
        assert await count(rig, "true", of="deliveries") == 0


async def test_pruning_takes_no_more_than_it_is_allowed(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.authorize(907, 2000)
        await rig.pass_time(100)
        everything = await count(rig, "true")
        async with rig.context.database.transaction() as connection:
            taken = await inbox.prune(connection, rig.clock.now() + timedelta(days=1), limit=3)
        assert taken == 3
        assert await count(rig, "true") == everything - 3
