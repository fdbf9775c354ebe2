"""Tests of app/clock.

The clock of a process: steps of the machine's wall clock change nothing, and the database's clock is followed.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine

from app import processes
from app.clock import Clock, SystemClock
from app.flows.admin import database_checks
from app.flows.admin.database_checks import clock_skew
from app.settings import KeyedSettings, Secret
from app.store.db.database import Database
from app.wiring import clock_for
from tests.conftest import PATIENCE_S

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


@pytest.mark.anyio
async def test_F62_a_process_follows_the_databases_clock_for_as_long_as_it_runs(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the database was away."""
    monkeypatch.setattr(processes, "KEEP_TIME_S", 0.0)
    database = Database(database_url)
    clock = SystemClock()
    looks = 0

    async def skew(asked: Database, of: Clock) -> timedelta:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise ConnectionRefusedError
        return await clock_skew(asked, of)

    monkeypatch.setattr(database_checks, "clock_skew", skew)
    context: Any = SimpleNamespace(clock=clock, database=database)
    following = asyncio.create_task(processes._keep_time(context))
    try:
        for hours in (3, -5):
            clock.offset += timedelta(hours=hours)
            async with asyncio.timeout(PATIENCE_S):
                while abs(clock.now() - datetime.now(UTC)) > MOMENT:  # noqa: ASYNC110  it tells nobody
                    await asyncio.sleep(0.01)
        assert not following.done()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await database.close()
