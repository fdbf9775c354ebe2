"""A terminal maker's endpoint for the journeys: verifies what comes, keeps it, answers as it is told to."""

import asyncio
import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from app.alerting.signed_webhook import SignedOutlet
from app.domain.events.event import EventType
from app.flows.context import Context
from app.flows.events.manage_endpoints import AddedEndpoint, add_endpoint
from app.flows.events.send_events import EventSender
from app.monta.transport import open_http
from tests.journeys.rig import Rig

MOST_ROUNDS = 20
OF_SESSIONS = [each for each in EventType if each is not EventType.CHARGE_POINT_CHANGED]
URL = "https://maker.test/events"

Json = dict[str, Any]


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """By the specification of Standard Webhooks, whatever the time."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    key = b64decode(secret.removeprefix("whsec_"), validate=True)
    return f"v1,{b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


class Maker(httpx.AsyncBaseTransport):
    """The network that leads to one endpoint. `status` is its answer; None: the connection is refused."""

    def __init__(self, url: str = URL) -> None:
        self.url = url
        self.status: Callable[[Json], int | None] = lambda _: 204
        self.secret = ""
        self.news = asyncio.Event()
        self.tried: list[Json] = []
        """Every attempt that reached it, with the event's id."""
        self.got: list[Json] = []
        self.signatures: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == self.url
        body = await request.aread()
        headers = dict(request.headers)
        given = headers["webhook-signature"].split()
        assert signature(self.secret, headers["webhook-id"], headers["webhook-timestamp"], body) in given
        event = json.loads(body) | {"id": headers["webhook-id"]}
        self.signatures.append(headers["webhook-signature"])
        self.tried.append(event)
        status = self.status(event)
        if status is None:
            raise httpx.ConnectError("refused", request=request)
        if status < 300:
            self.got.append(event)
            self.news.set()
        return httpx.Response(
            status,
            headers={"location": "https://elsewhere.test/"},
            stream=httpx.ByteStream(b"ok"),
            request=request,
        )

    @property
    def types(self) -> list[str]:
        return [event["type"].removeprefix("payment_session.") for event in self.got]

    @asynccontextmanager
    async def sender(self, context: Context, *others: "Maker") -> AsyncIterator[EventSender]:
        async with open_http(Network({maker.url: maker for maker in (self, *others)})) as http:
            yield EventSender(context, SignedOutlet(http))


class Network(httpx.AsyncBaseTransport):
    """Leads to several makers by their URLs."""

    def __init__(self, makers: Mapping[str, Maker]) -> None:
        self._makers = makers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._makers[str(request.url)].handle_async_request(request)


async def listen(rig: Rig, maker: Maker, **more: Any) -> AddedEndpoint:
    """Adds the maker's endpoint for the rig's terminals, for events of sessions only."""
    added = await add_endpoint(
        rig.context, url=maker.url, **({"provider": "tapwatt", "types": OF_SESSIONS} | more)
    )
    maker.secret = added.signing_secret
    return added


async def send_due(sender: EventSender) -> None:
    """Sends everything that is due now to its end."""
    for _ in range(MOST_ROUNDS):
        if not await sender.run_round():
            return
    raise AssertionError("it sends without end")
