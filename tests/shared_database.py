"""One migrated database for many tests, emptied before each: ten times faster than a new copy for each of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import pytest

from app.store.db.suitability import READ
from app.store.tables import metadata
from tests.postgres import TEMPLATE, TestCluster, as_service, as_superuser
from tests.shared_objects import close_kept, kept_loops, kept_pids

ALONE = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND (state <> 'idle' OR pid <> ALL($1))"
)
UNGUARDED = "SET session_replication_role = replica; {}; RESET session_replication_role"
"""Runs statements as a superuser without triggers, also those that refuse to change evidence."""
FILLED = [table.name for table in reversed(metadata.sorted_tables) if table.name not in READ]
"""Every table but those that migrations fill; first those that refer to others."""
EMPTY = UNGUARDED.format("; ".join(f"DELETE FROM {name}" for name in FILLED))


class Recycled:
    """Empties the database, after disconnecting whatever is still connected, unless it waits for the next test."""

    def __init__(self, url: str) -> None:
        self.url = as_service(url)
        self._runner = asyncio.Runner()
        self._admin: asyncpg.Connection = self._runner.run(asyncpg.connect(as_superuser(url)))

    def forget(self) -> None:
        self._runner.run(self._admin.execute(ALONE, kept_pids()))
        self._runner.run(self._admin.execute(EMPTY))

    def close(self) -> None:
        self._runner.run(self._admin.close())
        self._runner.close()


@pytest.fixture(scope="package")
def recycled(migrated_cluster: TestCluster) -> Iterator[Recycled]:
    """This folder's database."""
    with migrated_cluster.database(TEMPLATE) as url:
        database = Recycled(url)
        yield database
        database.close()


@pytest.fixture
def database_url(recycled: Recycled) -> str:
    """`postgresql://...` of a database with every table and no rows, as the fixture of all folders promises."""
    recycled.forget()
    return recycled.url


@pytest.fixture(params=[as_service, as_superuser])
def kept_apart(request: pytest.FixtureRequest, database_url: str) -> str:
    """The database with row level security and without: it would hide that a query of ours has lost a condition."""
    as_user: Callable[[str], str] = request.param
    return as_user(database_url)


@pytest.fixture(scope="package", autouse=True)
async def kept_loop(recycled: Recycled, anyio_backend: object) -> AsyncIterator[asyncio.AbstractEventLoop]:
    """One event loop for all of a folder's tests, since a connection lives no longer than its loop."""
    loop = asyncio.get_running_loop()
    kept_loops.add(loop)
    yield loop
    await close_kept()
    kept_loops.remove(loop)


@pytest.fixture(autouse=True)
def no_task_left(kept_loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Ends the tasks that a test leaves behind, as the end of its own loop would."""
    before = asyncio.all_tasks(kept_loop)  # anyio's, which runs the tests, and those of a shared browser
    yield
    left = asyncio.all_tasks(kept_loop) - before
    for task in left:
        task.cancel()
    if left:
        kept_loop.run_until_complete(asyncio.wait(left))
