"""What every test may ask for: the event loop's kind and a fresh, migrated database."""

from collections.abc import Iterator

import pytest

from app.store.migrate import migrate
from tests.postgres import TEMPLATE, TestCluster, running_cluster

LONG_FIRST = ("tests/world/", "tests/hall/", "tests/journeys/", "tests/domain/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Rooms with long tests come first: what is left for the end is short, and no worker waits for another."""
    items.sort(
        key=lambda item: next((n for n, room in enumerate(LONG_FIRST) if item.nodeid.startswith(room)), 99)
    )


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def cluster() -> Iterator[TestCluster]:
    """The session's PostgreSQL, started when the first test asks for it."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def migrated_cluster(cluster: TestCluster) -> TestCluster:
    """The same server with the migrated database that `database_url` copies."""
    cluster.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate(cluster.url_of(TEMPLATE))
    return cluster


@pytest.fixture
def database_url(migrated_cluster: TestCluster) -> Iterator[str]:
    """`postgresql://...` of a database of one's own with every table and no rows."""
    with migrated_cluster.database(TEMPLATE) as url:
        yield url
