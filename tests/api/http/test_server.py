"""Tests of app/api/http/server."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from uvicorn.server import ServerState

from app.api.http.responses import AT_ONCE
from app.api.http.server import BoundedHttp, Connections, Server

pytestmark = pytest.mark.anyio

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Hasty(BoundedHttp):
    head_s = 0.2
    body_s = 0.2


async def length_of_body(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answers with the count of bytes that it received."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = str(size).encode()
    assert b"x-trailer" not in dict(scope["headers"])
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(http: type[BoundedHttp] = BoundedHttp) -> AsyncIterator[int]:
    """The port of a running server."""
    server, ready = Server(length_of_body, "127.0.0.1", 0, lambda: None), asyncio.Event()
    server.config.http, server.config.lifespan = http, "off"
    server.on_ready = ready.set
    task = asyncio.create_task(server.serve())
    try:
        await ready.wait()
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def said(port: int, *parts: bytes) -> bytes:
    """Everything that the server answers until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


WHOLE = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"


class Written(asyncio.Transport):
    """Keeps each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Nothing is read by itself."""

    def resume_reading(self) -> None:
        """The same."""

    def close(self) -> None:
        self.closed = True


async def test_an_answers_head_and_body_are_one_write_and_none_is_lost_at_the_end() -> None:
    config = Server(length_of_body, "127.0.0.1", 0, lambda: None).config
    config.load()
    protocol, transport = BoundedHttp(config, ServerState(), {}), Written()
    protocol.connection_made(transport)
    for request in (WHOLE.replace(b"connection: close\r\n", b""), WHOLE):
        protocol.data_received(request)
        for _ in range(10):
            await asyncio.sleep(0)
    assert [each.endswith(b"\r\n\r\n5") for each in transport.writes] == [True, True]
    assert transport.closed
    protocol.connection_lost(None)


async def at_once(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The same as `length_of_body`, in one write."""
    size = str(len((await receive())["body"])).encode()
    await scope["extensions"][AT_ONCE](200, b"content-length: %d\r\n" % len(size), size)


async def answered(app: Any, *requests: bytes, meanwhile: Callable[[Any], None] = lambda _: None) -> Written:
    """What is written to a connection on which requests come; `meanwhile` is done once they are read."""
    config = Server(app, "127.0.0.1", 0, lambda: None).config
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"today")]
    protocol, transport = BoundedHttp(config, state, {}), Written()
    protocol.connection_made(transport)
    for request in requests:
        protocol.data_received(request)
    meanwhile(protocol)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not [task for task in state.tasks if task.done() and task.exception()]
    if not transport.closed:
        protocol.connection_lost(None)
    return transport


OPEN = WHOLE.replace(b"connection: close\r\n", b"")


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([OPEN], id="one that may be followed by others"),
        pytest.param([WHOLE], id="the last one"),
        pytest.param([OPEN.replace(b"HTTP/1.1", b"HTTP/1.0")], id="of HTTP/1.0"),
        pytest.param([OPEN + OPEN[:-5] + b"12345" + WHOLE], id="several in one read"),
        pytest.param([OPEN[:-2], OPEN[-2:] + OPEN], id="a body in two reads, and another one"),
    ],
)
async def test_an_answer_at_once_is_the_same_as_one_in_two_messages(requests: list[bytes]) -> None:
    slow, quick = await answered(length_of_body, *requests), await answered(at_once, *requests)
    joined = b"".join(quick.writes)
    assert (joined, quick.closed) == (b"".join(slow.writes), slow.closed)
    assert joined.count(b"HTTP/1.1 200 OK\r\ndate: today\r\n") == len(quick.writes) >= 1


async def test_an_answer_at_once_waits_for_a_client_that_does_not_read_and_is_not_sent_to_one_that_is_gone() -> (
    None
):
    assert (await answered(at_once, OPEN, meanwhile=lambda it: it.pause_writing())).writes == []
    assert (await answered(at_once, OPEN, meanwhile=lambda it: it.connection_lost(None))).writes == []

    def later(it: Any) -> None:
        it.pause_writing()
        asyncio.get_running_loop().call_soon(it.resume_writing)

    assert len((await answered(at_once, OPEN, meanwhile=later)).writes) == 1


async def test_no_request_is_left_to_the_garbage_collector() -> None:
    found: list[weakref.ref[object]] = []

    async def noted(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        found.append(weakref.ref(receive.__self__))  # type: ignore[attr-defined]
        await at_once(scope, receive, send)

    gc.disable()
    try:
        await answered(noted, OPEN)
        assert [each() for each in found] == [None]
    finally:
        gc.enable()


async def test_a_whole_request_is_answered() -> None:
    async with served(Hasty) as port:
        answer = await said(port, WHOLE)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n5")


async def test_requests_on_one_connection_have_their_bounds_each() -> None:
    kept = WHOLE.replace(b"connection: close\r\n", b"")
    async with served() as port:
        answer = await said(port, *[kept] * 3, WHOLE)
    assert answer.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"POST / HT", id="a head that stops"),
        pytest.param(WHOLE[:-1], id="a body that stops"),
        pytest.param(WHOLE.replace(b": close", b": keep-alive") + b"GET", id="the second head that stops"),
    ],
)
async def test_a_request_that_does_not_go_on_is_cut(sent: bytes) -> None:
    async with served(Hasty) as port:
        answer = await said(port, sent)
    assert answer.endswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")


async def test_a_large_body_that_comes_in_one_read_is_no_large_head() -> None:
    size = 200_000
    large = WHOLE.replace(b"content-length: 5", b"content-length: %d" % size).replace(b"hello", b"x" * size)
    async with served() as port:
        answers = [await said(port, large) for _ in range(20)]
    assert all(answer.endswith(b"\r\n\r\n200000") for answer in answers)


CHUNKED = WHOLE.replace(
    b"content-length: 5\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
)


async def test_trailers_are_left_out_and_bounded() -> None:
    trailer = b"x-trailer: " + b"a" * 1000 + b"\r\n"
    async with served() as port:
        few = await said(port, CHUNKED + trailer + b"\r\n")
        many = await said(port, CHUNKED, *[trailer] * 70)
        again = CHUNKED.replace(b"connection: close\r\n", b"") + trailer * 40 + b"\r\n"
        twice = await said(port, again + again, WHOLE)
    assert few.endswith(b"\r\n\r\n5")
    assert many.startswith(b"HTTP/1.1 431")
    assert twice.count(b"HTTP/1.1 200") == 3, "each request has its own bound"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nhost: a\r\nhost: b", b"400"),
        (b"POST / HTTP/1.1\r\nx: y", b"400"),
        (b"POST / HTTP/1.0\r\nhost: a\r\nhost: a", b"400"),
        (b"POST / HTTP/1.0\r\nx: y", b"200"),
        (b"POST http://evil.test/ HTTP/1.1\r\nhost: a", b"200"),
    ],
)
async def test_a_request_names_one_host(head: bytes, status: bytes) -> None:
    async with served() as port:
        answer = await said(port, WHOLE.replace(b"POST / HTTP/1.1\r\nhost: x", head))
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1") == 1


async def smuggled(port: int, headers: bytes, body: bytes) -> bytes:
    return await said(port, WHOLE.replace(b"content-length: 5\r\n\r\nhello", headers + b"\r\n\r\n" + body))


SECOND = b"GET /second HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"content-length: 6\r\ntransfer-encoding: chunked", b"0\r\n\r\n" + SECOND),
        (b"transfer-encoding: chunked\r\ncontent-length: 6", b"0\r\n\r\nX"),
        (b"transfer-encoding: xchunked", b"0\r\n\r\n" + SECOND),
        (b"transfer-encoding : chunked", b"0\r\n\r\n" + SECOND),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: identity", b"0\r\n\r\n" + SECOND),
        (b"content-length: 2\r\ncontent-length: 5", b"{}" + SECOND),
        (b"content-length: 2\r\ncontent-length: 2", b"{}"),
        (b"content-length: +2", b"{}"),
        (b"content-length: \xb2", b"{}"),
        (b"content-length: 99999999999999999999", b"{}"),
        (b"transfer-encoding: chunked", b"FFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n"),
        (b"transfer-encoding: chunked", b"2\n{}\n0\n\n" + SECOND),
        (b"x: a\r\n b\r\ncontent-length: 2", b"{}"),
        (b"x: a\rcontent-length: 2", b"{}" + SECOND),
    ],
)
async def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_after_it_is_read(
    headers: bytes, body: bytes
) -> None:
    async with served() as port:
        answer = await smuggled(port, headers, body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_head_without_end_is_cut() -> None:
    async with served() as port:
        answer = await said(port, b"GET / HTTP/1.1\r\n", *[b"x-more: " + b"y" * 8000 + b"\r\n"] * 9)
    assert answer.startswith(b"HTTP/1.1 431")


HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
AMBIGUOUS = {
    "both lengths": HEAD + b"content-length: 50\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "both lengths the other way": HEAD
    + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "two lengths": HEAD + b"content-length: 0\r\ncontent-length: 37\r\n\r\n" + HIDDEN,
    "a length with a sign": HEAD + b"content-length: +0\r\n\r\n" + HIDDEN,
    "a list of lengths": HEAD + b"content-length: 0, 0\r\n\r\n" + HIDDEN,
    "another encoding": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a name with a space": HEAD + b"content-length : 0\r\n\r\n" + HIDDEN,
    "a folded header": HEAD + b"content-length:\r\n 0\r\n\r\n" + HIDDEN,
    "a chunk with a sign": HEAD + b"transfer-encoding: chunked\r\n\r\n+0\r\n\r\n" + HIDDEN,
    "lines that end with LF": HEAD.replace(b"\r\n", b"\n") + b"content-length: 0\n\n" + HIDDEN,
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_request_whose_end_can_be_read_in_two_ways_is_refused(sent: bytes) -> None:
    """Behind a proxy that reads it in the other way, a second request would be hidden in it."""
    async with served(Hasty) as port:
        answer = await said(port, sent)
    assert b"HTTP/1.1 200" not in answer
    assert answer.startswith(b"HTTP/1.1 400")


async def test_a_connection_on_which_nothing_is_sent_is_closed() -> None:
    async with served(Hasty) as port:
        assert (await said(port)).startswith(b"HTTP/1.1 408")


async def test_connections_are_bounded_by_address_and_the_others_are_served_on() -> None:
    class Few(BoundedHttp):
        open_connections = Connections(most=10, most_of_one=2)

    async with served(Few) as port:
        first = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in first:
            writer.write(WHOLE.replace(b"connection: close\r\n", b""))
            assert (await reader.readuntil(b"5")).startswith(b"HTTP/1.1 200")
        assert (await said(port, WHOLE)).startswith(b"HTTP/1.1 503")
        for _, writer in first:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(10):
            while len(Few.open_connections):  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(0)
        assert (await said(port, WHOLE)).startswith(b"HTTP/1.1 200")


def test_all_connections_together_are_bounded_too() -> None:
    connections = Connections(most=3, most_of_one=2)
    assert [connections.admit(address) for address in "aabbc"] == [True, True, True, False, False]
    for address in "aabbc":
        connections.ended(address)
    assert len(connections) == 0
