"""Notifications from PostgreSQL: a hint to look now. Losing one costs a second, never correctness."""

import asyncio
from collections.abc import Callable

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

log = structlog.get_logger("listener")

RECONNECT_S = 2.0
CHECK_S = 15.0


class Listener:
    """Listens on channels over a connection of its own and calls back with each payload; reconnects by itself."""

    def __init__(self, engine: AsyncEngine, channels: dict[str, Callable[[str], None]]) -> None:
        self._engine = engine
        self._channels = channels

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._listen()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("listener_reconnects", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        def heard(_connection: object, _pid: int, channel: str, payload: str) -> None:
            self._channels[channel](payload)

        connection = await self._connect()
        try:
            for channel in self._channels:
                await connection.add_listener(channel, heard)
            for channel in self._channels:
                self._channels[channel]("")
            while True:
                await asyncio.sleep(CHECK_S)
                await connection.execute("SELECT 1", timeout=5)
        finally:
            connection.terminate()

    async def _connect(self) -> asyncpg.Connection:
        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        connection: asyncpg.Connection = await asyncpg.connect(*arguments, timeout=5, **options)
        return connection
