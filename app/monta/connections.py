"""Connections of outgoing HTTP/1.1: sockets of asyncio, and a pool of them.

The protocol is httpcore's. Its own pool looks at every connection for every request, and its sockets are wrapped by
anyio: together a third of what a call to Monta cost.
"""

import asyncio
import select
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import httpcore

MOST_UNREAD_BYTES = 256 * 1024
"""Received and not yet read, from which on the sender has to wait."""


class SocketStream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A connection that one task at a time reads and writes. Raises httpcore's errors."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._unread = bytearray()
        self._is_paused = False
        self._has_ended = False
        self._error: Exception | None = None
        self._may_read = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._may_read.set()
        if len(self._unread) > MOST_UNREAD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """Ends the connection. An HTTP server that sends nothing more has also closed."""
        self._has_ended = True
        self._may_read.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_ended, self._error = True, exc
        self._may_read.set()
        self._may_write.set()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Returns what has arrived, as soon as something has. Nothing at the end. Raises ReadTimeout, ReadError."""
        if not self._unread and not self._has_ended:
            self._may_read.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._may_read.wait()
            except TimeoutError as error:
                raise httpcore.ReadTimeout from error
        if not self._unread and self._error is not None:
            raise httpcore.ReadError(type(self._error).__name__) from self._error
        data = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Raises WriteTimeout, WriteError."""
        if not self._has_ended:
            self._transport.write(buffer)
        if not self._may_write.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._may_write.wait()
            except TimeoutError as error:
                raise httpcore.WriteTimeout from error
        if self._has_ended:
            raise httpcore.WriteError("the connection has ended") from self._error

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "SocketStream":
        """Raises ConnectTimeout, ConnectError, after which certainly nothing of a request was sent."""
        try:
            async with asyncio.timeout(timeout):
                transport = await asyncio.get_running_loop().start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except BaseException as error:
            self._transport.abort()
            if isinstance(error, TimeoutError):
                raise httpcore.ConnectTimeout from error
            if isinstance(error, OSError):  # ssl.SSLError is one
                raise httpcore.ConnectError(type(error).__name__) from error
            raise
        if transport is None:
            raise httpcore.ConnectError("the connection has ended")
        self._transport = transport
        return self

    async def aclose(self) -> None:
        self._transport.abort()

    def get_extra_info(self, info: str) -> Any:
        """`is_readable` is what httpcore asks of an idle connection: whether the server has closed it."""
        return self._is_readable() if info == "is_readable" else self._transport.get_extra_info(info)

    def _is_readable(self) -> bool:
        """Whether the server has closed the connection. Asks the socket as well: the event loop may have been busy for
        some milliseconds."""
        if self._unread or self._has_ended or self._transport.is_closing():
            return True
        waiting = select.poll()
        waiting.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(waiting.poll(0))


Connect: TypeAlias = Callable[[httpcore.Origin, float | None], Awaitable[httpcore.AsyncNetworkStream]]
"""Connects to an origin within seconds; raises ConnectError or ConnectTimeout."""


class ConnectionPool:
    """Connections to any origins. Each request takes the one that was used last."""

    def __init__(self, connect: Connect, *, most: int, keep_s: float) -> None:
        """`most`: connections at once. `keep_s`: how long an unused one is kept."""
        self._connect = connect
        self._most = most
        self._keep_s = keep_s
        self._free = asyncio.Semaphore(most)
        self._in_use = 0
        self._idle: deque[httpcore.AsyncHTTP11Connection] = deque()
        """The one that was used last comes last."""

    async def send(self, request: httpcore.Request) -> "Answer":
        """Sends a request; the answer's body is read from its connection. Raises PoolTimeout, and httpcore's errors."""
        timeouts = request.extensions.get("timeout", {})
        try:
            async with asyncio.timeout(timeouts.get("pool")):
                await self._free.acquire()
        except TimeoutError as error:
            raise httpcore.PoolTimeout from error
        self._in_use += 1
        try:
            connection = await self._connected(request.url.origin, timeouts.get("connect"))
            response = await connection.handle_async_request(request)
        except BaseException:  # its connection, if there is one, has been closed
            self._let_go()
            raise
        return Answer(response, connection, self)

    async def _connected(
        self, origin: httpcore.Origin, within_s: float | None
    ) -> httpcore.AsyncHTTP11Connection:
        while self._idle and self._idle[0].has_expired():
            await self._idle.popleft().aclose()
        while (known := self._last_used(origin)) is not None:
            self._idle.remove(known)
            if not known.has_expired():
                return known
            await known.aclose()
        while self._idle and self._in_use + len(self._idle) > self._most:
            await self._idle.popleft().aclose()
        stream = await self._connect(origin, within_s)
        return httpcore.AsyncHTTP11Connection(origin, stream, keepalive_expiry=self._keep_s)

    def _last_used(self, origin: httpcore.Origin) -> httpcore.AsyncHTTP11Connection | None:
        return next((idle for idle in reversed(self._idle) if idle.can_handle_request(origin)), None)

    async def take_back(self, connection: httpcore.AsyncHTTP11Connection) -> None:
        """Takes back a connection whose answer was read, or given up."""
        self._let_go()
        if connection.is_idle() and len(self._idle) < self._most:
            self._idle.append(connection)
        else:
            await connection.aclose()

    def _let_go(self) -> None:
        self._in_use -= 1
        self._free.release()

    async def aclose(self) -> None:
        """Closes unused connections, others when their answer was read."""
        self._most = 0
        while self._idle:
            await self._idle.popleft().aclose()


class Answer:
    """An answer whose body is still to be read. It keeps its connection until it is closed."""

    def __init__(
        self, response: httpcore.Response, connection: httpcore.AsyncHTTP11Connection, pool: ConnectionPool
    ) -> None:
        self.response = response
        self._connection: httpcore.AsyncHTTP11Connection | None = connection
        self._pool = pool

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await self.response.aclose()
        finally:
            await self._pool.take_back(connection)
