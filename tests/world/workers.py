"""Worlds on every core: processes that each have a database of their own."""

import gc
import multiprocessing
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.pool import Pool
from queue import Queue

from tests.postgres import TEMPLATE, as_service, running_cluster
from tests.world.cores import keep_to_one_core
from tests.world.crash_points import CrashPoint, crash_points, strike
from tests.world.run import Ended, Worlds, run_seeds
from tests.world.story import Violation

OBJECTS_BEFORE_A_LOOK = 10_000
"""A world takes a seventh less of the processor than when garbage is looked for after every 700 objects."""

_worlds: Worlds | None = None
"""Of this worker."""


@contextmanager
def pool_of(workers: int) -> Iterator[Pool]:
    """Processes, each with a migrated database of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster())
        cluster.migrate_template()
        urls = spawn.Queue()
        for number in range(workers):
            urls.put((number, as_service(stack.enter_context(cluster.database(TEMPLATE)))))
        yield stack.enter_context(spawn.Pool(workers, initializer=take_database, initargs=(urls,)))


def take_database(urls: "Queue[tuple[int, str]]") -> None:
    global _worlds  # noqa: PLW0603 - one for the process, made once
    number, url = urls.get()
    keep_to_one_core(number)
    gc.freeze()
    gc.set_threshold(OBJECTS_BEFORE_A_LOOK, *gc.get_threshold()[1:])
    _worlds = Worlds(url)


def run_lot(lot: tuple[list[int], bool]) -> list[Ended]:
    """In a worker."""
    seeds, stories = lot
    return _here().run(lambda on: run_seeds(on, seeds, stories=stories))


def find_points(journey: str) -> list[CrashPoint]:
    """In a worker."""
    return _here().run(lambda on: crash_points(on, journey))


def strike_one(point: CrashPoint) -> tuple[CrashPoint, Violation | None]:
    """In a worker."""
    return point, _here().run(lambda on: strike(on, point)).violation


def _here() -> Worlds:
    assert _worlds is not None
    return _worlds
