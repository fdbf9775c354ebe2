"""Tests of app/monta/transport.

Classification of failures on real sockets, where httpx and the kernel choose the exception.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from app.domain.units.egress import Egress
from app.domain.units.ids import ChargeId
from app.monta.client import MontaClient
from app.monta.egress import CheckedTransport
from app.monta.errors import MontaError, NotSent, OutcomeUnknown
from app.monta.ports import Token
from app.monta.transport import Timeouts, open_http
from tests.monta.fake_monta import CREDENTIALS
from tests.monta.idle_clock import ORIGIN
from tests.monta.rig import OPERATOR, START, Rig

pytestmark = pytest.mark.anyio

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
QUICK = Timeouts(read_s=0.1, start_s=0.1, pool_s=0.02, connect_s=1)


def token() -> Token:
    end = ORIGIN + timedelta(hours=1)
    return Token("access", end, "refresh", end)


@contextlib.asynccontextmanager
async def listening(handle: Handler) -> AsyncIterator[int]:
    """A TCP server on loopback; the port."""

    async def handle_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the server is closed while we wait
            await handle(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle_and_close, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def client_of(rig: Rig, port: int, *, scheme: str = "http") -> AsyncIterator[MontaClient]:
    """A client that has a token already, so that the first thing it sends is the call."""
    await rig.tokens.save(OPERATOR, token())
    credentials = replace(CREDENTIALS, base_url=f"{scheme}://127.0.0.1:{port}/api/v1")
    async with open_http() as http:
        yield rig.replica(http=http, credentials=credentials, timeouts=QUICK)


async def outcome(client: MontaClient) -> MontaError:
    with pytest.raises(MontaError) as raised:
        await client.start_charge(START)
    return raised.value


async def test_a_port_without_a_listener_is_not_sent_f95(rig: Rig) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with client_of(rig, bound.getsockname()[1]) as client:
            assert isinstance(await outcome(client), NotSent)


async def test_a_failed_tls_handshake_is_not_sent_f95(rig: Rig) -> None:
    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(speak_plainly) as port, client_of(rig, port, scheme="https") as client:
        assert isinstance(await outcome(client), NotSent)


async def test_a_name_that_does_not_resolve_is_not_sent_f95(rig: Rig) -> None:
    async with open_http() as http:
        nowhere = replace(CREDENTIALS, base_url="https://monta.invalid/api/v1")
        with pytest.raises(NotSent):
            await rig.replica(http=http, credentials=nowhere).get_charge(ChargeId("5"))


async def test_a_start_whose_send_guard_runs_out_while_the_connection_is_made_is_not_written_f22(
    rig: Rig,
) -> None:
    """A replica that is frozen between deciding to send and writing must not send when it resumes."""
    received: list[bytes] = []
    answers = iter([True, False])

    async def read_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(10))

    async with listening(read_all) as port, client_of(rig, port) as client:
        with pytest.raises(NotSent, match="send guard"):
            await client.start_charge(START, still_allowed=lambda: next(answers))
    assert list(answers) == [], "asked before connecting and again before writing"
    assert received in ([], [b""])


async def test_a_connection_closed_instead_of_an_answer_is_unknown_f19(rig: Rig) -> None:
    received: list[bytes] = []

    async def take_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))

    async with listening(take_and_hang_up) as port, client_of(rig, port) as client:
        assert isinstance(await outcome(client), OutcomeUnknown)
    assert [head.split(b" ")[0] for head in received] == [b"POST"]


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", b"SSH-2.0\r\n\r\n"]
)
async def test_silence_half_an_answer_or_none_that_is_http_is_unknown_f19(rig: Rig, answer: bytes) -> None:
    over = asyncio.Event()

    async def answer_and_wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await over.wait()

    async with listening(answer_and_wait) as port:
        async with client_of(rig, port) as client:
            assert isinstance(await outcome(client), OutcomeUnknown)
        over.set()


async def test_an_exhausted_pool_is_not_sent_f95(rig: Rig) -> None:
    taken, over = asyncio.Event(), asyncio.Event()

    async def keep_waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await over.wait()

    async with listening(keep_waiting) as port:
        credentials = replace(CREDENTIALS, base_url=f"http://127.0.0.1:{port}/api/v1")
        async with httpx.AsyncClient(transport=CheckedTransport(Egress(), 1)) as http:
            await rig.tokens.save(OPERATOR, token())
            patient = rig.replica(http=http, credentials=credentials)
            first = asyncio.create_task(patient.get_charge(ChargeId("5")))
            await taken.wait()
            assert isinstance(
                await outcome(rig.replica(http=http, credentials=credentials, timeouts=QUICK)), NotSent
            )
            first.cancel()
            await asyncio.wait([first])
        over.set()
