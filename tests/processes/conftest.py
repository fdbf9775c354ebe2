"""Three real replicas on a primary with a synchronous standby; the first one reaches it through a proxy."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.embedded.cluster import OWNER, SERVICE
from app.store.db.schema import migrate
from tests.conftest import Sized
from tests.postgres import as_owner, as_service
from tests.processes.fleet import Fleet, open_fleet
from tests.processes.pair import Pair, open_pair
from tests.processes.proxy import Proxy

DATABASE = "tapwatt"
FEWEST_POINTS = 12


@dataclass(frozen=True, slots=True)
class Deployment:
    """Shared by the tests of this folder: the amount of work, and the sessions that terminals know."""

    fleet: Fleet
    pair: Pair
    proxy: Proxy
    sized: Sized
    known: list[str] = field(default_factory=list)


@pytest.fixture(scope="package")
async def deployment(anyio_backend: str, sized: Sized) -> AsyncIterator[Deployment]:
    """The proxy connects to whichever server is the primary; the other replicas know both."""
    with tempfile.TemporaryDirectory(prefix="tapwatt-pair-") as folder:
        async with open_pair(Path(folder)) as pair:
            await pair.primary.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
            url = as_service(pair.url(DATABASE))
            await asyncio.to_thread(migrate, as_owner(url), service_url=url)
            async with Proxy(lambda: asyncio.open_connection("127.0.0.1", pair.primary.port)) as proxy:
                through = f"postgresql://{SERVICE}@127.0.0.1:{proxy.port}/{DATABASE}"
                points = sized(FEWEST_POINTS, 500)
                async with open_fleet(url, [through, url, url], points=points, seed=1) as fleet:
                    yield Deployment(fleet, pair, proxy, sized)


@pytest.fixture
async def quiet(deployment: Deployment) -> AsyncIterator[Deployment]:
    """Checks the required end state: all replicas up, nothing cut, every session settled."""
    yield deployment
    deployment.proxy.let_pass()
    deployment.proxy.revive()
