"""Runs worlds by their seeds, one after the other in one loop on one database, and says what went wrong."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import create_async_engine

from app.store.connecting import SERVER_BOUNDS
from app.store.database import to_json
from app.store.database_url import asyncpg_url
from app.store.tables import metadata
from tests.world.database import watch
from tests.world.loop import WorldLoop
from tests.world.plan import Plan, draw
from tests.world.story import Violation
from tests.world.world import Ground, World

EMPTY = "; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables))
TRUNCATE = f"TRUNCATE {', '.join(table.name for table in metadata.sorted_tables)}"
TRUNCATE_EVERY = 25
"""Deleting is faster, but leaves dead rows behind."""

Live = Callable[[World], None]


@dataclass(frozen=True, slots=True)
class Broken:
    """A seed that broke a rule, and its story."""

    seed: int
    violation: Violation
    story: str


@asynccontextmanager
async def ground(database_url: str) -> AsyncIterator[Ground]:
    """What the worlds of this process stand on; within a WorldLoop only."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WorldLoop)
    with loop.io():
        beside = await asyncpg.connect(database_url)
    engine = create_async_engine(
        asyncpg_url(database_url),
        json_serializer=to_json,
        json_deserializer=partial(json.loads, parse_float=Decimal),
        connect_args={"server_settings": SERVER_BOUNDS},
    )
    watch(engine)
    try:
        yield Ground(loop, engine, beside, {})
    finally:
        with loop.io():
            await engine.dispose()
            await beside.close()


async def run_one(on: Ground, world: World) -> Broken | None:
    try:
        await world.live()
    except Violation as violation:
        return Broken(world.plan.seed, violation, f"{world.plan}\n{world.story}")
    except Exception as error:
        world.story.violated("the world goes on", f"{type(error).__name__}: {error}")
        return Broken(world.plan.seed, world.story.violations[0], f"{world.plan}\n{world.story}")
    return None


async def forget(on: Ground, number: int) -> None:
    with on.loop.io():
        await on.beside.execute(TRUNCATE if number % TRUNCATE_EVERY == 0 else EMPTY)


async def run_seeds(
    database_url: str, seeds: Iterable[int], plan_of: Callable[[int], Plan] = draw
) -> AsyncIterator[tuple[int, Broken | None]]:
    """Each seed, and how it broke, if it did."""
    async with ground(database_url) as on:
        for number, seed in enumerate(seeds):
            await forget(on, number)
            yield seed, await run_one(on, World(on, plan_of(seed)))


def quietly() -> None:
    """What replicas log is of no interest here: the story tells more."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
