"""Tests of app/flows/operator/overdue_captures.

A terminal that goes offline before it learns what to capture: flagged for operations while the hold is still
valid.
"""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.flows.operator.overdue_captures import EVERY, flag_overdue_captures
from app.store.operators import jobs
from app.store.operators.jobs import Job, JobLease
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig
from tests.postgres import run_as_owner

pytestmark = pytest.mark.anyio

GOOD_FOR = timedelta(hours=6)
OVERDUE = "the capture has not been reported"


async def settled(rig: Rig) -> Json:
    """A short charge on a hold that is valid for six hours; the terminal does not poll after its end."""
    expires_at = (rig.clock.now() + GOOD_FOR).isoformat()
    session = await rig.authorize(907, 2000, authorization={"expires_at": expires_at})
    return await rig.until(session["id"], "completed")


async def summary(rig: Rig) -> tuple[int, int, int]:
    found = (await rig.call("GET", "/v1/ops/summary", key=rig.ops.api_key)).json()
    return found["settlements_due"], found["captures_overdue"], found["needs_attention"]


async def listed(rig: Rig, wanted: str) -> list[str]:
    answer = await rig.call("GET", f"/v1/ops/payment-sessions?{wanted}", key=rig.ops.api_key)
    return [each["id"] for each in answer.json()["data"]]


async def test_F73_a_terminal_that_stays_away_is_reported_at_half_of_the_holds_time_until_it_reports(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await settled(rig)
        assert await listed(rig, "settlement_status=due") == [session["id"]]
        assert await summary(rig) == (1, 0, 0)
        decided_at, report_due_at = await half_time(rig)
        assert GOOD_FOR / 3 < report_due_at - decided_at < GOOD_FOR / 2

        await rig.pass_time((report_due_at - rig.clock.now()).total_seconds() - 1)
        assert await summary(rig) == (1, 0, 0)
        await rig.pass_time(EVERY.total_seconds() + 1)
        assert await summary(rig) == (1, 1, 1)
        assert await listed(rig, "needs_attention=true") == [session["id"]]
        assert OVERDUE in (await rig.ops_session(session["id"]))["attention"][0]["detail"]
        metrics = (await rig.call("GET", "/metrics", key=rig.ops.api_key)).text
        assert "tapwatt_captures_overdue 1.0" in metrics
        assert "tapwatt_sessions_needing_attention 1.0" in metrics

        await rig.pass_time(3 * EVERY.total_seconds())
        assert await told(rig, session) == ["attention_needed"]
        settlement = session["settlement"]
        done = {"outcome": "captured", "amount": settlement["amount_to_capture"], "reference": "psp-1"}
        answer = await rig.call("POST", f"/v1/payment-sessions/{session['id']}/captures", body=done)
        assert (answer.json()["settlement"]["status"], answer.json()["needs_attention"]) == (
            "confirmed",
            False,
        )
        assert await summary(rig) == (0, 0, 0)
        assert await told(rig, session) == ["attention_needed", "attention_ended"]
        assert await listed(rig, "settlement_status=due") == []


async def test_F73_no_attention_is_raised_about_what_was_reported_in_time_and_an_ended_session_is_never_due(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await settled(rig)
        settlement = session["settlement"]
        done = {"outcome": "captured", "amount": settlement["amount_to_capture"], "reference": "psp-1"}
        await rig.call("POST", f"/v1/payment-sessions/{session['id']}/captures", body=done)
        version = (await rig.session(session["id"]))["version"]
        await rig.pass_time(GOOD_FOR.total_seconds())
        assert await told(rig, session) == []
        assert (await rig.session(session["id"]))["version"] == version
        async with rig.context.database.transaction() as connection:
            due = await connection.execute(text("SELECT due_at FROM payment_sessions"))
            assert due.scalar_one() is None


async def test_sessions_that_cannot_be_asked_about_hold_up_no_other_and_are_not_tried_all_the_time(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        *first, last = [(await settled(rig))["id"] for _ in range(4)]
        watchers, rig.watchers = rig.watchers, []
        await rig.pass_time(GOOD_FOR.total_seconds() / 2)
        await run_as_owner(
            database_url,
            *REFUSE,
            f"INSERT INTO refused VALUES ('{first[0]}'), ('{first[1]}'), ('{first[2]}')",
        )
        try:
            async with rig.context.database.transaction() as connection:
                await jobs.make_due(
                    connection, rig.operator.operator_id, Job.OVERDUE_CAPTURES, rig.clock.now()
                )
            with capture_logs() as lines:
                await flag_overdue_captures(rig.context, await outcomes_lease(rig), at_once=2)
                assert await listed(rig, "needs_attention=true") == [last]
                rig.watchers = watchers
                await rig.pass_time(EVERY.total_seconds() - 1)
            failed = [line["session_id"] for line in lines if line["event"] == "capture_not_flagged"]
            assert sorted(failed) == sorted(first), "once each until the next time"
        finally:
            await run_as_owner(database_url, *UNDO)


REFUSE = (
    "CREATE TABLE refused (id text)",
    "GRANT SELECT ON refused TO PUBLIC",
    """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       IF EXISTS (SELECT FROM refused WHERE id = NEW.session_id) THEN RAISE EXCEPTION 'refused'; END IF;
       RETURN NEW; END $$""",
    "CREATE TRIGGER refuse BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION refuse()",
)
UNDO = ("DROP TRIGGER refuse ON journal", "DROP FUNCTION refuse", "DROP TABLE refused")


async def outcomes_lease(rig: Rig) -> JobLease:
    """A claim on the job, whatever else is due."""
    now = rig.clock.now()
    async with rig.context.database.transaction() as connection:
        while lease := await jobs.claim(connection, now=now, until=now + timedelta(minutes=1)):
            if lease.job is Job.OVERDUE_CAPTURES:
                return lease
            await jobs.release(connection, lease, now + timedelta(hours=1))
    raise AssertionError("it is not due")


async def half_time(rig: Rig) -> tuple[datetime, datetime]:
    """When it was settled, and when its time is half over."""
    async with rig.context.database.transaction() as connection:
        row = (await connection.execute(text("SELECT decided_at, report_due_at FROM settlements"))).one()
    return row.decided_at, row.report_due_at


async def told(rig: Rig, session: Json) -> list[str]:
    kinds = [line["kind"] for line in await rig.journal(session["id"])]
    return [kind for kind in kinds if kind.startswith("attention_")]
