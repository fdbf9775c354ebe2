"""Runs worlds by their seeds, one after the other in one loop on one database, and reports violations."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import structlog

from app.store.db.connect import SERVER_BOUNDS, Bounds
from tests.postgres import as_superuser
from tests.shared_database import EMPTY, FILLED, UNGUARDED
from tests.world.cores import use_our_cores
from tests.world.database import WorldDatabase
from tests.world.draw import draw
from tests.world.lock_waits import LockWaits
from tests.world.loop import WorldLoop
from tests.world.replicas import Environment
from tests.world.story import Violation
from tests.world.world import World

# httpx's ASGITransport looks for this absent package at each request; to find nothing costs it 0.2 ms.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]

TRUNCATE = UNGUARDED.format(f"TRUNCATE {', '.join(FILLED)}")
WITHOUT_HASTE = {
    "lock_timeout": "60s",
    "statement_timeout": "60s",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""Real time has no meaning here: on a busy machine a transaction that others interrupt takes many seconds of it."""
MAX_CONNECTIONS = 80
"""Of one world: a replica frozen or crashed within a transaction keeps one."""
TRUNCATE_EVERY = 10
"""Deleting is faster, but leaves dead rows behind."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of a seed's world; its story is printed when it broke a rule, or on request."""

    seed: int
    violation: Violation | None
    story: str = ""


@asynccontextmanager
async def environment(database_url: str) -> AsyncIterator[Environment]:
    """The environment of this process's worlds; within a WorldLoop only."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WorldLoop)
    with loop.io():
        beside = await asyncpg.connect(as_superuser(database_url))
        use_our_cores(beside)
    database = WorldDatabase(
        database_url,
        pool_size=MAX_CONNECTIONS // 2,
        share=MAX_CONNECTIONS,
        bounds=Bounds(answer_s=None),
        server_bounds=SERVER_BOUNDS | WITHOUT_HASTE,
    )
    lock_waits = LockWaits(database_url)
    loop.lock_waits = lock_waits.count
    try:
        yield Environment(loop, database, beside)
    finally:
        with loop.io():
            await database.close()
            await beside.close()
        loop.lock_waits = lambda: 0
        lock_waits.close()


async def run_one(world: World, *, story: bool = False) -> Ended:
    try:
        await world.live()
    except Violation as violation:
        return Ended(world.plan.seed, violation, f"{world.plan}\n{world.story}")
    except Exception as error:
        world.story.violated("the world goes on", f"{type(error).__name__}: {error}")
        return Ended(world.plan.seed, world.story.violations[0], f"{world.plan}\n{world.story}")
    return Ended(world.plan.seed, None, f"{world.plan}\n{world.story}" if story else "")


async def forget(on: Environment) -> None:
    """Clears what the previous world left behind."""
    number = next(on.worlds)
    with on.loop.io():
        await on.beside.execute(TRUNCATE if number % TRUNCATE_EVERY == 0 else EMPTY)


async def run_seeds(on: Environment, seeds: Iterable[int], *, stories: bool = False) -> list[Ended]:
    """Runs one world after the other."""
    ended = []
    for seed in seeds:
        await forget(on)
        ended.append(await run_one(World(on, draw(seed)), story=stories))
    return ended


T = TypeVar("T")


class Worlds(AbstractContextManager["Worlds"]):
    """A loop and its environment for any number of worlds: making them costs as much as three worlds, since every
    statement and route is compiled."""

    def __init__(self, database_url: str) -> None:
        self._runner = asyncio.Runner(loop_factory=WorldLoop)
        self._environment = environment(database_url)
        self._on = self._runner.run(self._environment.__aenter__())

    def run(self, work: Callable[[Environment], Coroutine[Any, Any, T]]) -> T:
        """Returns the result of `work`; nothing is logged meanwhile."""
        with quiet():
            return self._runner.run(work(self._on))

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._environment.__aexit__(None, None, None))
        self._runner.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the replicas' logs: the story contains more."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)
