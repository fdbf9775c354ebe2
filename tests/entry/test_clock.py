"""Tests of app/clock.

The clock of a process: steps of the machine's wall clock change nothing, and the database's clock is followed.
"""

import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from app.clock import SystemClock
from app.flows.admin.database_checks import clock_skew
from app.settings import KeyedSettings, Secret
from app.store.db.database import Database
from app.wiring import clock_for

MOMENT = timedelta(seconds=1)


@pytest.mark.parametrize("hours", [1, -1, 24 * 365])
def test_F62_a_step_of_the_wall_clock_is_not_seen(hours: int) -> None:
    clock = SystemClock()
    before = clock.now()
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
        assert abs(datetime.now(UTC) - before) > timedelta(minutes=59)
        assert timedelta() <= clock.now() - before < MOMENT


def test_it_goes_on_with_time() -> None:
    clock = SystemClock(timedelta(hours=1))
    before, monotonic_s = clock.now(), time.monotonic()
    while time.monotonic() - monotonic_s < 0.01:
        pass
    assert clock.now() - before >= timedelta(seconds=0.01)
    assert abs(clock.now() - datetime.now(UTC) - timedelta(hours=1)) < MOMENT


@pytest.mark.anyio
async def test_F62_a_machine_whose_clock_is_wrong_from_the_start_takes_over_the_databases(
    database_url: str,
) -> None:
    database = Database(database_url)
    settings = KeyedSettings(secret_key=Secret("a-key-of-the-tests-0123456789-XYZ"))
    try:
        with time_machine.travel(datetime.now(UTC) - timedelta(hours=3), tick=True):
            clock = await clock_for(settings, database)
            assert abs(await clock_skew(database, clock)) < MOMENT
        assert abs(clock.now() - datetime.now(UTC)) < MOMENT
    finally:
        await database.close()
