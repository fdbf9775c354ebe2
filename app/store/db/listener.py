"""Receives PostgreSQL notifications, which make polling quicker. A lost one costs a second, never correctness."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import asyncpg
import structlog

from app.store.db.connect import ELSEWHERE, WritableHost, is_pooled

log = structlog.get_logger("listener")

RECONNECT_S = (0.5, 3.0)
"""Bounds of the random reconnect delay, so that replicas do not reconnect at the same moment."""
CHECK_S = 15.0
ECHO_S = 5.0
"""Timeout for our own test notification."""
ECHO_CHANNEL = "tapwatt_echo"
POOLED_S = 60.0
"""Seconds between checks whether a pooler, which has no notifications, still answers."""

Echo = Callable[[str], Awaitable[None]]
"""Sends a word on ECHO_CHANNEL through the main URL, to prove that it arrives here."""


class Listener:
    """Listens on channels and calls back with each payload. Over a connection of its own. Reconnects by itself.

    Behind a pooler it listens only where an `echo` shows that notifications arrive: a transaction pooler accepts
    LISTEN and drops it. Callers that get no notification poll every second.
    """

    def __init__(
        self,
        host: WritableHost,
        channels: dict[str, Callable[[str], None]],
        *,
        echo: Echo | None = None,
        echo_s: float = ECHO_S,
    ) -> None:
        self._host = host
        self._channels = channels
        self._echo = echo
        self._echo_s = echo_s
        self._received: set[str] = set()
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why no notifications arrive, as far as it is known."""
        return self._problem

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                await self._listen()
            except ELSEWHERE as error:
                log.warning("listener_reconnects", error=type(error).__name__)
                await asyncio.sleep(random.uniform(*RECONNECT_S))  # noqa: S311

    async def _listen(self) -> None:
        connection = await self._host.connect()
        try:
            if is_pooled(connection) and self._echo is None:
                self._tell(
                    "a pooler stands before the database: set TAPWATT_LISTEN_DATABASE_URL to go around it"
                )
                await asyncio.sleep(POOLED_S)
                return
            await self._receive(connection)
        finally:
            connection.terminate()

    async def _receive(self, connection: asyncpg.Connection) -> None:
        def on_notification(_connection: object, _pid: int, channel: str, payload: str) -> None:
            if channel == ECHO_CHANNEL:
                self._received.add(payload)
            else:
                self._channels[channel](payload)

        for channel in (*self._channels, *([ECHO_CHANNEL] if self._echo else [])):
            await connection.add_listener(channel, on_notification)
        for channel in self._channels:
            self._channels[channel]("")
        while True:
            if self._echo is not None:
                self._tell(await self._without_echo(self._echo))
            await asyncio.sleep(CHECK_S)
            await connection.execute("SELECT 1", timeout=5)

    async def _without_echo(self, echo: Echo) -> str | None:
        """What is wrong when the echo does not arrive; None: it did."""
        word = f"{random.getrandbits(64):x}"
        self._received.clear()
        await echo(word)
        for _ in range(50):
            if word in self._received:
                return None
            await asyncio.sleep(self._echo_s / 50)
        return (
            "notifications do not arrive: TAPWATT_LISTEN_DATABASE_URL must name the same database as"
            " TAPWATT_DATABASE_URL, past any pooler that deals out transactions"
        )

    def _tell(self, problem: str | None) -> None:
        """Logs a problem once for each change."""
        if problem is not None and problem != self._problem:
            log.warning("no_notifications", problem=problem, instead="looked for each second")
        self._problem = problem
