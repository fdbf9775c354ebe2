"""Asks PostgreSQL how many statements wait for a lock, in a thread beside the world's loop."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncpg

from tests.postgres import as_superuser

WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
ANSWER_S = 60

T = TypeVar("T")


class LockWaits:
    """A connection with its own loop, usable while the world's loop is blocked."""

    def __init__(self, database_url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection: asyncpg.Connection = self._run(asyncpg.connect(as_superuser(database_url)))

    def count(self) -> int:
        """Returns the number of statements that wait for a lock now."""
        waiting: int = self._run(self._connection.fetchval(WAITING))
        return waiting

    def close(self) -> None:
        self._run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_S)
