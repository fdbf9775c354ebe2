"""Tests of app/store/db/database.

A repeated call is answered only when what it reports would survive the loss of the primary (F81).
"""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from tests.api.service import Service, open_service, payment
from tests.postgres import as_superuser
from tests.shared_objects import close_kept

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"
HELD_S = 0.7


@pytest.fixture
async def standby_away(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """From `lose_standby` on, commits of this database wait for a standby that does not come."""
    admin = await asyncpg.connect(as_superuser(database_url))
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = on")
    await close_kept()
    try:
        yield admin
    finally:
        await standby(admin, "")
        await admin.execute(f"ALTER DATABASE {name} RESET synchronous_commit")
        await close_kept()
        await admin.close()


async def standby(admin: asyncpg.Connection, name: str) -> None:
    """Names the standby; returns once every connection that is opened from now on knows it."""
    await admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await admin.execute("SELECT pg_reload_conf()")
    while await admin.fetchval("SELECT current_setting('synchronous_standby_names')") != name:
        pass  # each question gives the server, and the loop, a turn


WAITS = "SELECT wait_event FROM pg_stat_activity WHERE pid = $1"


async def lose_standby(admin: asyncpg.Connection, service: Service, url: str) -> "asyncio.Task[str]":
    """Returns a commit that waits for the standby: PostgreSQL reads its settings again in its own time, and until
    then commits do not wait."""
    await standby(admin, "nobody")
    await service.context.database.close()  # its open connections may not know it yet
    other = await asyncpg.connect(url)
    pid = other.get_server_pid()
    while True:
        commit = asyncio.create_task(other.execute("SELECT pg_logical_emit_message(true, 'tapwatt', '')"))
        while not commit.done():
            if await admin.fetchval(WAITS, pid) == "SyncRep":
                commit.add_done_callback(lambda _: other.terminate())
                return commit


async def test_F81_a_repeated_call_is_not_answered_before_the_standby_has_what_it_reports(
    database_url: str, standby_away: asyncpg.Connection
) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize("101", "A-1")
        await service.call("POST", f"{PATH}/{session['id']}/stop")
        commit = await lose_standby(standby_away, service, database_url)
        calls = _calls(service, session["id"])
        await calls["read"]
        await asyncio.wait(set(calls.values()), timeout=HELD_S)
        assert {name for name, call in calls.items() if call.done()} == {"read"}
        await standby(standby_away, "")
        await commit
        answers = {name: await call for name, call in calls.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "authorize": 200,
        "stop": 202,
        "find": 200,
        "read": 200,
    }


def _calls(service: Service, session_id: str) -> dict[str, "asyncio.Future[httpx.Response]"]:
    """What repeats an acknowledgement, and a plain read, which promises nothing new."""
    wanted = {
        "authorize": service.call("POST", PATH, payment("101", "A-1")),
        "stop": service.call("POST", f"{PATH}/{session_id}/stop"),
        "find": service.call("GET", f"{PATH}?reference=A-1"),
        "read": service.call("GET", f"{PATH}/{session_id}"),
    }
    return {name: asyncio.ensure_future(call) for name, call in wanted.items()}
