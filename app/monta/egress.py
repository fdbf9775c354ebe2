"""Connects outgoing HTTP only to allowed addresses, and reads their certificates."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import chain, zip_longest
from typing import cast
from urllib.parse import urlsplit

import httpcore
import httpx

from app.domain.units.egress import Egress, is_loopback
from app.monta.connections import Answer, ConnectionPool, SocketStream

KEEP_S = 5.0
MAX_ADDRESSES = 4
"""Addresses of a host that one connection tries, each for an equal part of the time to connect."""


class EgressRefused(httpx.ConnectError):
    """No address of the host is allowed by the rule of egress. Certainly nothing was sent."""


class CheckedNetwork:
    """Resolves a host, and connects to the address that was judged. It cannot change in between."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def connect_tcp(self, host: str, port: int, timeout: float | None = None) -> SocketStream:
        """Raises ConnectError or ConnectTimeout, after which certainly nothing was sent."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._allowed(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from error
        part_s = None if timeout is None else timeout / len(addresses)
        failed: Exception | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(part_s):
                    _, stream = await asyncio.get_running_loop().create_connection(
                        SocketStream, address, port
                    )
                return stream
            except TimeoutError as error:
                failed = httpcore.ConnectTimeout(f"{host} was not connected in time")
                failed.__cause__ = error
            except OSError as error:
                failed = httpcore.ConnectError(f"{host}: {type(error).__name__}")
                failed.__cause__ = error
        raise failed or httpcore.ConnectError(f"{host} has no address")

    async def _allowed(self, host: str, port: int) -> list[str]:
        """Returns a host's addresses that may be connected to. The two families in turn. Raises EgressRefused if
        none."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {type(error).__name__}") from error
        given = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        problems = {address: self._egress.problem(host, address) for address in given}
        allowed = [address for address in given if problems[address] is None]
        if not allowed:
            raise EgressRefused(f"the URL of {host} {next(iter(problems.values()), 'has no address')}")
        first = ":" in allowed[0]
        families = (
            [a for a in allowed if (":" in a) == first],
            [a for a in allowed if (":" in a) != first],
        )
        return [a for a in chain.from_iterable(zip_longest(*families)) if a is not None][:MAX_ADDRESSES]


@cache
def trusted_authorities() -> ssl.SSLContext:
    """Returns what verifies servers, by the list of authorities that certifi has. Shared: reading it takes 20 ms."""
    tls = httpx.create_ssl_context(trust_env=False)
    tls.set_alpn_protocols(["http/1.1"])
    return tls


class CheckedTransport(httpx.AsyncBaseTransport):
    """Sends requests of an httpx client over checked connections. HTTP/1.1, no proxy."""

    def __init__(self, egress: Egress, connections: int, *, keep_s: float = KEEP_S) -> None:
        """`connections`: the most at once, of which an unused one is closed after `keep_s`."""
        self._egress = egress
        self._network = CheckedNetwork(egress)
        self.tls: ssl.SSLContext | None = None
        """What verifies servers; None: `trusted_authorities`, read when first needed."""
        self._pool = ConnectionPool(self._connect, most=connections, keep_s=keep_s)

    async def _connect(self, origin: httpcore.Origin, within_s: float | None) -> SocketStream:
        host = origin.host.decode("ascii")
        stream = await self._network.connect_tcp(host, origin.port, within_s)
        if origin.scheme != b"https":
            return stream
        return await stream.start_tls(self.tls or trusted_authorities(), host, within_s)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme != "https" and not self._may_be_plain(url):
            raise httpx.UnsupportedProtocol("plain http leaves this machine only in development")
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast(AsyncIterable[bytes], request.stream),
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = await self._pool.send(sent)
        response = answer.response
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(answer), extensions=response.extensions
        )

    def _may_be_plain(self, url: httpx.URL) -> bool:
        return url.scheme == "http" and (self._egress.anywhere or is_loopback(url.host))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for part in cast(AsyncIterable[bytes], self._answer.response.stream):
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Raises httpcore's exceptions as those of httpx, which have the same names."""
    try:
        yield
    except Exception as error:
        same = getattr(httpx, type(error).__name__, None)
        if same is None or type(error) is not getattr(httpcore, type(error).__name__, None):
            raise
        raise same(str(error)) from error


TIMEOUT_S = 5.0


class CertificateProblem(Exception):
    """The certificate is refused, or the address cannot be reached; in words."""


async def certificate_expires_at(
    url: str, egress: Egress, *, trusted: ssl.SSLContext | None = None
) -> datetime | None:
    """Connects by TLS, as calls to this address do. None: it is plain http.

    `trusted`: the authorities to trust, by default those of this machine. Raises CertificateProblem.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    context = trusted or ssl.create_default_context()
    try:
        stream = await CheckedNetwork(egress).connect_tcp(parts.hostname, parts.port or 443, TIMEOUT_S)
        secured = await stream.start_tls(context, parts.hostname, TIMEOUT_S)
    except (httpcore.ConnectError, httpcore.ConnectTimeout, EgressRefused) as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise CertificateProblem(f"the certificate is refused: {cause.verify_message}") from error
        raise CertificateProblem(str(error) or "no connection in time") from error
    try:
        certificate = secured.get_extra_info("ssl_object").getpeercert()
    finally:
        await secured.aclose()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
