"""Fixtures of every test: the event loop's kind and a fresh, migrated database."""

import gc
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cache

import httpx
import pytest
import structlog
from hypothesis import settings

from tests.postgres import TEMPLATE, TestCluster, as_service, running_cluster

# httpx's ASGITransport looks for this absent package at each request; to find nothing costs it 0.2 ms.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]

# A client that tests call by plain HTTP needs no list of authorities of its own, which takes it 20 ms to read.
httpx._transports.default.create_ssl_context = cache(httpx.create_ssl_context)  # type: ignore[attr-defined]

# To print a traceback with all local values, as structlog does where nothing is configured, takes seconds on a busy
# machine. Meanwhile the loop stands still, and connections to the database that are being opened give up.
structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback

LONG = 20
PATIENCE_S = 20.0
"""How long a test waits for what should happen at once, so that a busy machine fails none of them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--times",
        type=int,
        default=1,
        help=f"this many times more kills, cuts, races, fail-overs and examples; {LONG} gives the long run's figures",
    )


EXAMPLES = 40
"""Of each property, unless it says otherwise."""


def pytest_configure(config: pytest.Config) -> None:
    """Properties have no time limit for one example, since a busy machine is no bug.

    The default run draws the same examples each time, so that a failure belongs to the change that was made; with
    `--times` above 1, or with `--hypothesis-seed=random` or a number, they are new ones."""
    times = config.getoption("--times")
    drawn_anew = times > 1 or config.getoption("--hypothesis-seed") is not None
    settings.register_profile(
        "tapwatt", max_examples=EXAMPLES * times, deadline=None, derandomize=not drawn_anew
    )
    settings.load_profile("tapwatt")


@dataclass(frozen=True, slots=True)
class Sized:
    """How large a test is to be: by default, or towards its long run."""

    times: int

    def __call__(self, default: int, long: int) -> int:
        return round(default + (long - default) * min(1.0, (self.times - 1) / (LONG - 1)))


@pytest.fixture(scope="session")
def sized(request: pytest.FixtureRequest) -> Sized:
    return Sized(request.config.getoption("--times"))


LONG_FIRST = (
    "tests/processes/",
    "tests/entry/test_demo_whole.py",
    "tests/bench/",
    "tests/console/test_browser.py",
    "tests/world/",
    "tests/entry/",
    "tests/journeys/",
    "tests/domain/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs long tests first, so that no worker waits for another at the end: tests of many seconds each, then the
    folders that take the most."""
    items.sort(
        key=lambda item: next(
            (n for n, folder in enumerate(LONG_FIRST) if item.nodeid.startswith(folder)), 99
        )
    )


OBJECTS_BEFORE_A_LOOK = 10_000


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imported modules stay: garbage collection of them took a tenth of a run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(OBJECTS_BEFORE_A_LOOK, *gc.get_threshold()[1:])
        gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """The loop that the service runs on (app/processes)."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def cluster() -> Iterator[TestCluster]:
    """The session's PostgreSQL, started when the first test asks for it."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def migrated_cluster(cluster: TestCluster) -> TestCluster:
    """The same server with the migrated database that `database_url` copies."""
    cluster.migrate_template()
    return cluster


@pytest.fixture
def database_url(migrated_cluster: TestCluster) -> Iterator[str]:
    """`postgresql://...` of a database of one's own with every table and no rows, for the service's user."""
    with migrated_cluster.database(TEMPLATE) as url:
        yield as_service(url)
