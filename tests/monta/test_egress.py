"""Outgoing HTTP at the moment of the connection: on real sockets, by the machine's own names."""

import asyncio
import socket
from dataclasses import replace

import httpcore
import httpx
import pytest

from app.domain.units.egress import Egress
from app.domain.units.ids import ChargeId
from app.monta.egress import MAX_ADDRESSES, CheckedNetwork, EgressRefused
from app.monta.errors import NotSent, Outcome, outcome_of
from app.monta.transport import open_http
from tests.monta.fake_monta import CREDENTIALS
from tests.monta.rig import Rig

pytestmark = pytest.mark.anyio

OTHER_NAMES = ["127.1", "2130706433"]
"""Names of loopback that only resolving shows to be it."""


@pytest.mark.parametrize("host", OTHER_NAMES)
async def test_a_host_that_resolves_to_a_private_address_is_refused_and_not_sent(rig: Rig, host: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        port = listener.getsockname()[1]
        with pytest.raises(EgressRefused, match="public address") as refused:
            await CheckedNetwork(Egress()).connect_tcp(host, port, 5)
        assert outcome_of(refused.value) is Outcome.NOT_SENT
        async with open_http() as http:
            there = replace(CREDENTIALS, base_url=f"https://{host}:{port}/api/v1")
            with pytest.raises(NotSent):
                await rig.replica(http=http, credentials=there).get_charge(ChargeId("5"))
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_a_host_that_is_not_listed_is_refused_and_a_listed_one_is_connected_to() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = head.lower().split(b"host: ")[1].split(b"\r\n")[0]
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_http(egress=Egress(frozenset({"localhost"}))) as http:
            assert (await http.get(f"http://localhost:{port}/")).text == f"localhost:{port}"
            with pytest.raises(EgressRefused, match="TAPWATT_EGRESS_HOSTS"):
                await http.get(f"http://127.0.0.1:{port}/")
        async with open_http(egress=Egress(anywhere=True)) as http:
            assert (await http.get(f"http://127.1:{port}/")).is_success


async def test_plain_http_leaves_this_machine_only_in_development() -> None:
    async with open_http() as http:
        with pytest.raises(httpx.UnsupportedProtocol) as refused:
            await http.get("http://monta.invalid/")
    assert outcome_of(refused.value) is Outcome.NOT_SENT


async def test_without_a_listener_every_address_is_tried_within_the_bound_and_nothing_is_sent() -> None:
    assert MAX_ADDRESSES >= 2, "an address of each family"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(httpcore.ConnectError):
            await CheckedNetwork(Egress()).connect_tcp("localhost", bound.getsockname()[1], 5)
