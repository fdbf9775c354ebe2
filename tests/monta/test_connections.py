"""Tests of app/monta/connections, over real sockets: what is used again, what is closed, and what waits."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.domain.units.egress import Egress
from app.monta.connections import MOST_UNREAD_BYTES, SocketStream
from app.monta.egress import CheckedTransport, trusted_authorities
from app.monta.transport import MAX_CONNECTIONS, open_http

pytestmark = pytest.mark.anyio

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LARGE_BYTES = 8 * MOST_UNREAD_BYTES
"""More than one end may send before the other one reads."""
PATIENCE_S = 20.0


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: processes run uvloop's, which has sockets and TLS of its own."""
    return "asyncio", {"use_uvloop": request.param}


class Server:
    """Answers each request with the number of its connection, and counts those that are open."""

    def __init__(self, *, requests_each: int = 1000, body: bytes = b"") -> None:
        self.requests_each = requests_each
        self.body = body
        self.made = 0
        self.changed = asyncio.Condition()
        self.open: set[int] = set()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        number = self.made
        self.open.add(number)
        try:
            for _ in range(self.requests_each):
                await reader.readuntil(b"\r\n\r\n")
                body = self.body or str(number).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has closed it
        finally:
            writer.close()
            async with self.changed:
                self.open.remove(number)
                self.changed.notify_all()

    async def until_open(self, numbers: set[int]) -> None:
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(lambda: self.open == numbers)


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback; its port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    async with listening(server.serve) as server.port:
        yield server


@asynccontextmanager
async def client(most: int = 5, keep_s: float = 60, **timeouts: float) -> AsyncIterator[httpx.AsyncClient]:
    waits = httpx.Timeout(PATIENCE_S, **timeouts)
    checked = CheckedTransport(Egress(), most, keep_s=keep_s)
    async with httpx.AsyncClient(transport=checked, timeout=waits) as http:
        yield http


async def number_of(http: httpx.AsyncClient, server: Server) -> int:
    """Sends a request; which of the server's connections it came over."""
    return int((await http.get(f"http://127.0.0.1:{server.port}/")).text)


async def test_one_request_after_the_other_uses_one_connection() -> None:
    async with running(Server()) as server, client() as http:
        assert [await number_of(http, server) for _ in range(4)] == [1, 1, 1, 1]


async def test_requests_at_once_have_a_connection_each_and_the_one_used_last_is_used_again() -> None:
    async with running(Server()) as server, client() as http:
        async with http.stream("GET", f"http://127.0.0.1:{server.port}/") as first:
            assert await number_of(http, server) == 2
            assert await first.aread() == b"1"
        assert [await number_of(http, server) for _ in range(2)] == [1, 1]


async def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    """A POST on it would have an unknown outcome, though it never arrived."""
    async with running(Server(requests_each=1)) as server, client() as http:
        for number in (1, 2, 3):
            assert await number_of(http, server) == number
            await server.until_open(set())


async def test_a_close_that_the_event_loop_has_not_seen_yet_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop may be busy with a batch while the server's close waits in the socket."""
    async with running(Server(requests_each=1)) as server, client() as http:
        assert await number_of(http, server) == 1
        with monkeypatch.context() as patched:
            patched.setattr(SocketStream, "eof_received", lambda stream: True)
            await server.until_open(set())
        assert await number_of(http, server) == 2


async def test_an_unused_connection_is_closed_after_its_time() -> None:
    async with running(Server()) as server, client(keep_s=0) as http:
        assert [await number_of(http, server) for _ in range(3)] == [1, 2, 3]
        await server.until_open({3})


async def test_no_more_than_the_bound_are_open_and_others_wait_within_their_time() -> None:
    async with running(Server()) as server, client(most=1, pool=0.02) as http:
        url = f"http://127.0.0.1:{server.port}/"
        async with http.stream("GET", url) as first:
            with pytest.raises(httpx.PoolTimeout):
                await http.get(url)
            await first.aread()
        assert await number_of(http, server) == 1


async def test_each_slot_of_a_watcher_has_a_connection_beside_those_of_other_work() -> None:
    most = 3 + MAX_CONNECTIONS
    async with running(Server()) as server, open_http(slots=3) as http, AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{server.port}/"
        for _ in range(most):
            await stack.enter_async_context(http.stream("GET", url))
        assert server.made == most
        with pytest.raises(httpx.PoolTimeout):
            await http.get(url, timeout=httpx.Timeout(PATIENCE_S, pool=0.02))


async def test_a_request_that_waits_for_a_connection_gets_the_next_free_one() -> None:
    async with running(Server()) as server, client(most=1) as http:
        async with http.stream("GET", f"http://127.0.0.1:{server.port}/") as first:
            second = asyncio.ensure_future(number_of(http, server))
            await asyncio.sleep(0)
            await first.aread()
        assert await second == 1


async def test_an_unused_connection_makes_place_for_one_to_another_origin() -> None:
    async with (
        running(Server()) as one,
        running(Server()) as other,
        client(most=2) as http,
        http.stream("GET", f"http://127.0.0.1:{one.port}/"),
    ):
        assert await number_of(http, other) == 1
        assert await number_of(http, one) == 2
        await other.until_open(set())


async def test_a_request_that_is_given_up_frees_its_place_and_closes_its_connection() -> None:
    asked = asyncio.Event()
    closed = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""
        closed.set()
        writer.close()

    async with listening(never) as silent, running(Server()) as server, client(most=1) as http:
        waiting = asyncio.ensure_future(http.get(f"http://127.0.0.1:{silent}/"))
        await asked.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert await number_of(http, server) == 1
        await asyncio.wait_for(closed.wait(), PATIENCE_S)


async def test_an_answer_that_is_not_read_to_its_end_closes_its_connection() -> None:
    async with running(Server(body=bytes(LARGE_BYTES))) as server, client(most=1) as http:
        async with http.stream("GET", f"http://127.0.0.1:{server.port}/") as answer:
            assert answer.is_success
        assert len((await http.get(f"http://127.0.0.1:{server.port}/")).content) == LARGE_BYTES
        assert server.made == 2


async def test_a_large_body_arrives_whole_in_both_directions() -> None:
    body = bytes(range(256)) * (LARGE_BYTES // 256)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received = await reader.readexactly(LARGE_BYTES)
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + received)
        await writer.drain()
        writer.close()

    async with listening(echo) as port, client() as http:
        assert (await http.post(f"http://127.0.0.1:{port}/", content=body)).content == body


async def test_a_server_that_does_not_read_is_waited_for_within_the_time() -> None:
    over = asyncio.Event()

    async def read_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.transport.abort()

    async with listening(read_nothing) as port, client(write=0.02) as http:
        with pytest.raises(httpx.WriteTimeout):
            await http.post(f"http://127.0.0.1:{port}/", content=bytes(16 * LARGE_BYTES))
        over.set()


def certificate(folder: Path, name: str) -> Path:
    """A key and its own certificate for a name, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tapwatt tests")])
    names: list[x509.GeneralName] = (
        [x509.IPAddress(ip_address(name))] if name[0].isdigit() else [x509.DNSName(name)]
    )
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)
    )
    return path


@pytest.mark.parametrize(("name", "is_right"), [("localhost", True), ("elsewhere.test", False)])
async def test_tls_reaches_the_name_that_is_certified_and_no_other(
    tmp_path: Path, name: str, is_right: bool
) -> None:
    path = certificate(tmp_path, name)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(path)
    server = Server()
    trusting = CheckedTransport(Egress(), 2)
    trusting.tls = trusted_authorities.__wrapped__()  # others share the one that is kept
    trusting.tls.load_verify_locations(path)
    async with listening(server.serve, theirs) as port, httpx.AsyncClient(transport=trusting) as http:
        url = f"https://localhost:{port}/"
        if is_right:
            assert [(await http.get(url)).text for _ in range(2)] == ["1", "1"]
        else:
            with pytest.raises(httpx.ConnectError, match="SSLCertVerificationError"):
                await http.get(url)


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate(tmp_path, "localhost"))
    server = Server()
    async with listening(server.serve, theirs) as port, client() as http:
        with pytest.raises(httpx.ConnectError, match="SSLCertVerificationError"):
            await http.get(f"https://localhost:{port}/")
