"""Worlds on every core: processes that each have a database of their own."""

import asyncio
import multiprocessing
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.pool import Pool
from queue import Queue

from app.store.migrate import migrate
from tests.postgres import TEMPLATE, running_cluster
from tests.world.crash_points import CrashPoint, crash_points, strike
from tests.world.loop import WorldLoop
from tests.world.run import Ended, ground, quiet, run_seeds
from tests.world.story import Violation

_url = ""
"""The database of this worker."""


@contextmanager
def pool_of(workers: int) -> Iterator[Pool]:
    """Processes, each with a migrated database of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster())
        cluster.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(cluster.url_of(TEMPLATE))
        urls = spawn.Queue()
        for _ in range(workers):
            urls.put(stack.enter_context(cluster.database(TEMPLATE)))
        yield stack.enter_context(spawn.Pool(workers, initializer=take_database, initargs=(urls,)))


def take_database(urls: "Queue[str]") -> None:
    global _url  # noqa: PLW0603 - one for the process, given once
    _url = urls.get()


def run_lot(lot: tuple[list[int], bool]) -> list[Ended]:
    """In a worker."""
    seeds, stories = lot
    with quiet(), asyncio.Runner(loop_factory=WorldLoop) as runner:
        return runner.run(_run_lot(seeds, stories))


def find_points(journey: str) -> list[CrashPoint]:
    """In a worker."""

    async def find() -> list[CrashPoint]:
        async with ground(_url) as on:
            return await crash_points(on, journey)

    with quiet(), asyncio.Runner(loop_factory=WorldLoop) as runner:
        return runner.run(find())


def strike_one(point: CrashPoint) -> tuple[CrashPoint, Violation | None]:
    """In a worker."""

    async def strike_it() -> Ended:
        async with ground(_url) as on:
            return await strike(on, point)

    with quiet(), asyncio.Runner(loop_factory=WorldLoop) as runner:
        return point, runner.run(strike_it()).violation


async def _run_lot(seeds: Iterable[int], stories: bool) -> list[Ended]:
    return [ended async for ended in run_seeds(_url, seeds, stories=stories)]
