"""Tests of app/flows/operator/reconcile.

Replicas that start together: reconciliations and webhooks lock the same rows without harm.
"""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.units.ids import ChargeId
from app.flows.ingest import keep_entries
from app.flows.operator.reconcile import demand
from app.monta.webhook import Entry
from app.store.operators import jobs, operator_state
from app.store.operators.jobs import Job
from tests.journeys.rig import open_rig
from tests.postgres import run_as_owner

pytestmark = pytest.mark.anyio

LOST = "ps_01kaq4nbt5y3v1z9c7p5a3s1df"
CONFLICT = (
    "CREATE SEQUENCE conflicts",
    "GRANT ALL ON SEQUENCE conflicts TO PUBLIC",
    """CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       IF nextval('conflicts') % 2 = 1 THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END IF;
       RETURN NEW; END $$""",
    "CREATE TRIGGER conflict BEFORE UPDATE OF reconcile_wanted_at, reconciled_at ON operators"
    " FOR EACH ROW EXECUTE FUNCTION conflict()",
)
UNDO = ("DROP TRIGGER conflict ON operators", "DROP FUNCTION conflict", "DROP SEQUENCE conflicts")
WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def test_a_reconciliation_that_was_rolled_back_for_anothers_sake_is_noted_at_once(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.pass_time(60)
        searches = rig.calls("GET", "/charges")
        await run_as_owner(database_url, *CONFLICT)
        try:
            await demand(rig.context)
            await rig.work()
        finally:
            await run_as_owner(database_url, *UNDO)
        async with rig.context.database.transaction() as connection:
            state = await operator_state.reconciliation(connection, rig.operator.operator_id)
        assert state is not None
        assert state.wanted_at == state.reconciled_at == rig.clock.now()
        assert rig.calls("GET", "/charges") == searches + 1


async def test_a_webhook_of_a_lost_session_locks_the_job_before_the_operator(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.pass_time(60)
        now, operator_id = rig.clock.now(), rig.operator.operator_id
        report = ChargeReport(
            id=ChargeId("77"),
            state=ChargeState.CHARGING,
            seen_at=now,
            updated_at=now,
            partner_external_id=LOST,
        )
        entry = Entry(
            entity_type="charge",
            entity_id="77",
            event_type="updated",
            event_time=now,
            raw={},
            dedupe_key="0" * 64,
            charge=report,
        )

        async def keep() -> int:
            async with rig.context.database.transaction() as connection:
                return await keep_entries(connection, operator_id, [entry], now)

        async with rig.context.database.transaction() as connection:
            await jobs.lock(connection, Job.RECONCILE, operator_id)
            kept = asyncio.create_task(keep())
            while (await connection.execute(WAITING)).scalar_one() == 0:
                assert not kept.done()
            await operator_state.note_reconciled(
                connection, operator_id, now, deep=False, next_at=now + timedelta(hours=1), problem=None
            )
        assert await kept == 1
        async with rig.context.database.transaction() as connection:
            state = await operator_state.reconciliation(connection, operator_id)
        assert state is not None
        assert state.due_at < now + timedelta(minutes=10), "the webhook's wake-up is kept"
