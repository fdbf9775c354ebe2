"""Connects outgoing HTTP only to addresses that the rule of egress allows."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import chain, zip_longest
from typing import cast

import httpcore
import httpx

from app.domain.units.egress import Egress, is_loopback

MAX_ADDRESSES = 4
"""Addresses of a host that one connection tries, each for an equal part of the time to connect."""


class EgressRefused(httpx.ConnectError):
    """No address of the host is allowed by the rule of egress. Certainly nothing was sent."""


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a host, and connects to the address that was judged. It cannot change in between."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
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
                return await self._network.connect_tcp(address, port, part_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

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


class CheckedTransport(httpx.AsyncBaseTransport):
    """httpx's transport with the checked network. Its own has no parameter for it. HTTP/1.1, no proxy."""

    def __init__(self, egress: Egress, limits: httpx.Limits) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=CheckedNetwork(egress),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme != "https" and not is_loopback(url.host):
            raise httpx.UnsupportedProtocol("plain http leaves this machine only in development")
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast(AsyncIterable[bytes], request.stream),
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = await self._pool.handle_async_request(sent)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for part in cast(AsyncIterable[bytes], self._answer.stream):
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
