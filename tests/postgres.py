"""A real PostgreSQL for the tests: one server a session, one fresh copy of a migrated database a test."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import asyncpg
from alembic.config import Config

from app.embedded import EmbeddedPostgres
from app.embedded.cluster import OWNER, SERVICE
from app.store.db.schema import migrate

ROOT = Path(__file__).resolve().parents[1]

FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""A test's data need not survive a power failure."""
SETTINGS = {**FORGETFUL, "max_connections": "200", "autovacuum": "off", "max_wal_size": "4GB"}

TEMPLATE = "tapwatt_template"

SHARED_SERVER = "TAPWATT_TESTS_SERVER"
"""Names the folder of a running server with the template: many short sessions share it (tests/mutation)."""


def as_user(url: str, user: str) -> str:
    """The same database for another user."""
    before, _, rest = url.partition("://")
    return f"{before}://{user}@{rest.partition('@')[2]}"


def as_service(url: str) -> str:
    return as_user(url, SERVICE)


def as_owner(url: str) -> str:
    return as_user(url, OWNER)


def as_superuser(url: str) -> str:
    return as_user(url, "postgres")


async def run_as_owner(url: str, *statements: str) -> None:
    """Runs statements that the service's user may not, in one transaction."""
    connection = await asyncpg.connect(as_owner(url))
    try:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
    finally:
        await connection.close()


class TestCluster:
    """The session's server; makes and drops databases over one connection and a loop of its own."""

    __test__ = False

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._numbers = count(1)
        self._runner = asyncio.Runner()
        self._admin: asyncpg.Connection = self._runner.run(asyncpg.connect(base_url))

    def close(self) -> None:
        self._runner.run(self._admin.close())
        self._runner.close()

    def url_of(self, database: str) -> str:
        """The superuser's URL; see `as_service` and `as_owner`."""
        return self._base_url.replace("/postgres?", f"/{database}?")

    def migrate_template(self) -> None:
        """Makes the migrated database that `database(TEMPLATE)` copies, unless the server has it."""
        known = self._admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", TEMPLATE)
        if self._runner.run(known) is not None:
            return
        self.execute(f"CREATE DATABASE {TEMPLATE} OWNER {OWNER}")
        url = self.url_of(TEMPLATE)
        migrate(as_owner(url), service_url=as_service(url))

    def execute(self, statement: str) -> None:
        self._runner.run(self._admin.execute(statement))

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The owner's URL of a new copy of `template`, dropped at the end even when something is still connected."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}")
        try:
            yield as_owner(self.url_of(name))
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def new_server(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server with nothing in it yet, removed at the end."""
    server = EmbeddedPostgres(folder, SETTINGS)
    with ExitStack() as stack:
        stack.callback(server.delete)
        yield stack.enter_context(server)


@contextmanager
def running_cluster() -> Iterator[TestCluster]:
    """The server for a session: a new one, or the one that `SHARED_SERVER` names."""
    with ExitStack() as stack:
        shared = os.environ.get(SHARED_SERVER)
        if shared is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tapwatt-tests-"))
            server = stack.enter_context(new_server(Path(folder, "data")))
        else:
            server = stack.enter_context(EmbeddedPostgres(Path(shared), SETTINGS))
        cluster = TestCluster(server.url)
        stack.callback(cluster.close)
        yield cluster


def alembic_config(url: str) -> Config:
    """Alembic as pyproject.toml configures it for developers, aimed at `url`."""
    config = Config(toml_file=ROOT / "pyproject.toml")
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


async def unguarded(url: str, *statements: str) -> None:
    """Runs statements as a superuser without triggers, also those that refuse to change evidence; all or none."""
    connection = await asyncpg.connect(as_superuser(url))
    try:
        async with connection.transaction():
            for statement in ("SET LOCAL session_replication_role = replica", *statements):
                await connection.execute(statement)
    finally:
        await connection.close()
