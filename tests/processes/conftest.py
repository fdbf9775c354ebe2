"""Three real replicas on one database for this room; the first one reaches it through a proxy."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest

from tests.postgres import TEMPLATE, TestCluster
from tests.processes.fleet import Fleet, open_fleet
from tests.processes.proxy import Open, Proxy

POINTS = 25


def socket_of(url: str) -> tuple[Open, str]:
    """The way to the server's socket, and the name of the database."""
    name, folder = url.split("@/")[1].split("?host=")

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(f"{unquote(folder)}/.s.PGSQL.5432")

    return connect, name


@dataclass(frozen=True, slots=True)
class Place:
    """The fleet, the proxy before its first replica, and the sessions that terminals were told of so far."""

    fleet: Fleet
    proxy: Proxy
    times: int
    known: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def times(request: pytest.FixtureRequest) -> int:
    """How many times more than by default is to be done: `--times N`."""
    asked: int = request.config.getoption("--times")
    return asked


@pytest.fixture(scope="package")
def fleets_url(migrated_cluster: TestCluster) -> Iterator[str]:
    with migrated_cluster.database(TEMPLATE) as url:
        yield url


@pytest.fixture(scope="package")
async def place(anyio_backend: str, fleets_url: str, times: int) -> AsyncIterator[Place]:
    """Shared by the tests of this room: each leaves all replicas running and every session settled."""
    connect, name = socket_of(fleets_url)
    async with Proxy(connect) as proxy:
        through = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
        points = min(500, POINTS * times)
        async with open_fleet(fleets_url, [through, fleets_url, fleets_url], points=points, seed=1) as fleet:
            yield Place(fleet, proxy, times)


@pytest.fixture
async def calm(place: Place) -> AsyncIterator[Place]:
    """The place as it must be left: everybody up, nothing cut."""
    yield place
    place.proxy.let_pass()
    place.proxy.revive()
