"""Tests of app/store/sessions/codec.

Rows that newer code wrote, in a rolling deploy: unknown ones are left alone and reported to operations (F87).
"""

from collections.abc import Iterator

import pytest
import structlog
from sqlalchemy import text

from app.telemetry import configure_logging
from tests.journeys.checks import starts
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio

BODY = text("SELECT body, needs_attention, failures FROM payment_sessions WHERE id = :id")
TEACH = text(
    "UPDATE payment_sessions SET body = jsonb_set(body, '{status}', to_jsonb(CAST(:status AS text)))"
    " WHERE id = :id"
)


@pytest.fixture(autouse=True)
def production_logs() -> Iterator[None]:
    """As in production: structlog's own way to show a traceback takes a second for each."""
    configure_logging(level="error", as_json=True)
    yield
    structlog.reset_defaults()


async def test_F87_a_state_that_this_code_does_not_know_is_left_alone_and_reported(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session, other = await rig.authorize(106, 500), await rig.authorize(105, 500)

        async def write(status: str) -> None:
            async with rig.context.database.transaction() as connection:
                await connection.execute(TEACH, {"id": session["id"], "status": status})

        async def row() -> tuple[object, bool, int]:
            async with rig.context.database.transaction() as connection:
                found = (await connection.execute(BODY, {"id": session["id"]})).one()
            return found.body, found.needs_attention, found.failures

        await write("hibernating")
        before, attention_raised, _ = await row()
        assert not attention_raised
        await rig.until(other["id"], "charging", within_s=60)
        await rig.pass_time(15)
        after, attention_raised, failures = await row()
        assert after == before
        assert attention_raised
        assert failures >= 3
        assert len(starts(rig)) == 1, "only the other one was started"
        assert (await rig.call("GET", f"/v1/payment-sessions/{session['id']}")).status_code == 500
        await write("authorized")
        await rig.until(session["id"], "charging", within_s=300)
        assert len(starts(rig)) == 2
        assert (await row())[1:] == (False, 0), "F110: the attention item is gone"
