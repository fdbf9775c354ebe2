"""app/watcher: An unavailable database is no session's failure; a session that cannot be written is its own."""

from collections.abc import Iterator

import pytest
import structlog
from sqlalchemy import text

from app.telemetry import configure_logging
from tests.journeys.checks import starts
from tests.journeys.rig import energy_tariff, open_rig
from tests.postgres import run_as_owner

pytestmark = pytest.mark.anyio

FAILURES = text("SELECT failures, needs_attention FROM payment_sessions WHERE id = :id")
TRIES = text("SELECT last_value FROM refusals")
REFUSE = (
    "CREATE SEQUENCE refusals",
    "GRANT ALL ON SEQUENCE refusals TO PUBLIC",
    """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       IF nextval('refusals') <= 4 THEN RAISE EXCEPTION 'refused' USING ERRCODE = 'SQLSTATE'; END IF;
       RETURN NEW; END $$""",
    "CREATE TRIGGER refuse BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION refuse()",
)
UNDO = ("DROP TRIGGER refuse ON journal", "DROP FUNCTION refuse", "DROP SEQUENCE refusals")


@pytest.fixture(autouse=True)
def production_logs() -> Iterator[None]:
    configure_logging(level="critical", as_json=True)
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(("sqlstate", "failures"), [("57P01", 0), ("53100", 0), ("55P03", 0), ("22000", 4)])
async def test_F93_only_what_is_wrong_with_a_session_itself_counts_as_its_failure(
    database_url: str, sqlstate: str, failures: int
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 500)
        await run_as_owner(database_url, *(s.replace("SQLSTATE", sqlstate) for s in REFUSE))
        try:
            most, attention_raised, tries, began = 0, False, 0, rig.clock.now()
            while not starts(rig):
                await rig.pass_time(1)
                async with rig.context.database.transaction() as connection:
                    found = (await connection.execute(FAILURES, {"id": session["id"]})).one()
                    tries = (await connection.execute(TRIES)).scalar_one()
                most, attention_raised = max(most, found.failures), attention_raised or found.needs_attention
            assert (most, attention_raised) == (failures, failures >= 3)
            assert tries > 4, "nothing was refused"
            assert failures or (rig.clock.now() - began).total_seconds() < rig.context.lease_s, "not released"
        finally:
            await run_as_owner(database_url, *UNDO)
