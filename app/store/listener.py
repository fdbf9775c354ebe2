"""Notifications from PostgreSQL: a hint to look now. Losing one costs a second, never correctness."""

import asyncio
import random
from collections.abc import Callable

import structlog

from app.store.connecting import ELSEWHERE, WritableHost

log = structlog.get_logger("listener")

RECONNECT_S = (0.5, 3.0)
"""At random within these, so that after an outage not all come back at once."""
CHECK_S = 15.0


class Listener:
    """Listens on channels over a connection of its own and calls back with each payload; reconnects by itself."""

    def __init__(self, host: WritableHost, channels: dict[str, Callable[[str], None]]) -> None:
        self._host = host
        self._channels = channels

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._listen()
            except ELSEWHERE as error:
                log.warning("listener_reconnects", error=type(error).__name__)
                await asyncio.sleep(random.uniform(*RECONNECT_S))  # noqa: S311

    async def _listen(self) -> None:
        def heard(_connection: object, _pid: int, channel: str, payload: str) -> None:
            self._channels[channel](payload)

        connection = await self._host.connect()
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
