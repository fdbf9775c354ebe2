"""The HTTP server: uvicorn with bounds on requests and shutdown."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, cast
from weakref import ref

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import HANDLED_SIGNALS

from app.api.http.responses import AT_ONCE, as_sent
from app.clock import monotonic_s

GRACE_S = 20
"""Seconds that requests under way may take at shutdown."""
KEEP_ALIVE_S = 75
"""How long an idle connection is kept: longer than terminals pause between two polls."""

MOST_CONNECTIONS = 4_000
MOST_OF_ONE_ADDRESS = 1_000
"""Connections of a process at once; of one address, which may be a proxy's. See docs/settings.md."""

log = structlog.get_logger("processes")

_TOO_LATE = b"408 Request Timeout"
_TOO_LARGE = b"431 Request Header Fields Too Large"
_BAD_HOST = b"400 Bad Request"
_TOO_MANY = b"503 Service Unavailable"


class Connections:
    """Counts open connections, all and by address, within bounds."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    def admit(self, address: str) -> bool:
        """Counts one more; False: it is one too many. Call `ended` for it in either case."""
        self._open[address] += 1
        return self._open[address] <= self._most_of_one and len(self) <= self._most

    def ended(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class _OneWrite:
    """A transport that joins what is written in one turn of the event loop. An answer's head and body are one packet
    and one system call."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parts: list[bytes] = []
        self._call_soon = asyncio.get_running_loop().call_soon

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._call_soon(self._flush)
        self._parts.append(data)

    def write_at_once(self, data: bytes) -> None:
        """Writes now, after what was written before."""
        self._parts.append(data)
        self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            data, self._parts = b"".join(self._parts), []
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def _answer_at_once(known: ref[RequestResponseCycle], status: int, head: bytes, body: bytes) -> None:
    """Answers a request, as uvicorn's `send` would in two messages. See AT_ONCE."""
    cycle = known()
    assert cycle is not None
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    ends = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
    cycle.response_started = cycle.response_complete = True
    sent = STATUS_LINE[status] + as_sent(cycle.default_headers) + head + ends + body
    cast(_OneWrite, cycle.transport).write_at_once(sent)
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


class BoundedHttp(HttpToolsProtocol):
    """Ends connections that are too many, too large or too slow. Too large by their request head."""

    open_connections = Connections(MOST_CONNECTIONS, MOST_OF_ONE_ADDRESS)

    most_head_bytes = 64 * 1024
    """Counted by reads; the read that ends the head does not count, since most of it may be the body."""
    head_s = 10.0
    """From the connection's start, later from a request's first byte, to the end of its head."""
    body_s = 20.0
    """From the end of the head to the end of the body."""

    _head_bytes = 0
    _trailer_bytes = 0
    _in_head = True
    _head_ended = False
    _ends_s: float | None = None
    """When the connection is ended (monotonic time), unless what is awaited comes before."""
    _looks_s = 0.0
    _look: asyncio.TimerHandle | None = None
    """The next look at the time. It stays where the end is later than it: a timer for each request costs more."""

    _address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, _OneWrite(transport))
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        if self.open_connections.admit(self._address):
            self._within(self.head_s)
        else:
            self._refuse(_TOO_MANY)

    def data_received(self, data: bytes) -> None:
        was_in_head, self._head_ended = self._in_head, False
        super().data_received(data)
        if not was_in_head or self._head_ended:  # at least a part of this read was a body
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.most_head_bytes:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._within(self.head_s)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header. One after the body (a trailer) counts, and is left out: the request was judged without it."""
        if self._in_head:  # as uvicorn does, in half the calls
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))
            return
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > self.most_head_bytes:
            self._refuse(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes, self._head_ended = False, 0, True
        hosts = len([1 for name, _ in self.headers if name == b"host"])
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            self._refuse(_BAD_HOST)  # RFC 9112, 3.2
            return
        super().on_headers_complete()
        self._within(self.body_s)

    def on_message_complete(self) -> None:
        self._in_head, self._trailer_bytes = True, 0
        self._within(None)
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # By a weak reference: the garbage collector would have to find each request that has its own scope refer to it.
        cast(dict[str, Any], cycle.scope)["extensions"] = {AT_ONCE: partial(_answer_at_once, ref(cycle))}
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        self._within(None)
        if self._look is not None:
            self._look.cancel()
        self.open_connections.ended(self._address)
        super().connection_lost(exc)

    def _within(self, seconds: float | None) -> None:
        """Ends the connection after this time, unless this is called again before. None: not at all."""
        if seconds is None:
            self._ends_s = None
            return
        self._ends_s = monotonic_s() + seconds
        if self._look is None or self._ends_s < self._looks_s:
            self._look_after(seconds)

    def _look_after(self, seconds: float) -> None:
        if self._look is not None:
            self._look.cancel()
        self._looks_s = monotonic_s() + seconds
        self._look = self.loop.call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._look = None
        if self._ends_s is not None:
            if self._ends_s <= self._looks_s:
                self._refuse(_TOO_LATE)
            else:
                self._look_after(self._ends_s - self._looks_s)

    def _refuse(self, status: bytes) -> None:
        self._within(None)
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server, which ends long polls at once on shutdown. Reports when it listens."""

    on_ready: Callable[[], None] | None = None

    def __init__(
        self,
        app: object,
        host: str,
        port: int,
        on_exit: Callable[[], None],
        connections: Connections | None = None,
        *,
        trusted_proxies: str | None = None,
    ) -> None:
        """`trusted_proxies`: addresses and networks whose X-Forwarded-For names the caller."""
        if connections is None:
            connections = Connections(MOST_CONNECTIONS, MOST_OF_ONE_ADDRESS)
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]  # any ASGI app; uvicorn's own union leaves plain callables out
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=trusted_proxies is not None,
            forwarded_allow_ips=trusted_proxies,
            http=type("Http", (BoundedHttp,), {"open_connections": connections}),
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self._on_exit = on_exit
        self._where = f"http://{host}:{port}"

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            log.info("listening", url=self._where)
            if self.on_ready is not None:
                self.on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Holds the signal back until the watcher has drained. uvicorn would raise it again too early."""
        loop = asyncio.get_running_loop()
        for number in HANDLED_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in HANDLED_SIGNALS:
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)
